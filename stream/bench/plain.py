"""Decoding and transcoding with PyAV and nothing else, to compare with: `python -m stream.bench.plain IN [OUT …]`.

python -m stream.bench.plain mv.mp4                               # decode
python -m stream.bench.plain mv.mp4 out.mp4 libx264 veryfast 20   # transcode the picture, copy the rest
"""

from __future__ import annotations

import sys
from typing import Any

import av


def decode(path: str) -> int:
    """Decode every frame of the first video track, with FFmpeg's own choice of threads; how many there were."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))


def transcode(path: str, output: str, codec: str, preset: str, crf: str) -> int:
    """Encode the first video track anew at its own times, and copy the packets of sound and subtitles; the frames."""
    frames = 0
    with av.open(path) as source, av.open(output, "w") as target:
        picture = source.streams.video[0]
        picture.thread_type = "AUTO"
        video: Any = target.add_stream(codec, rate=picture.average_rate, options={"preset": preset, "crf": crf})
        video.width, video.height, video.pix_fmt = picture.width, picture.height, picture.pix_fmt
        video.time_base = video.codec_context.time_base = picture.time_base
        video.codec_context.thread_type = "AUTO"  # otherwise threads share a picture, and x264 takes longer
        copied = [s for s in source.streams if s.type in ("audio", "subtitle")]
        copies: dict[int, Any] = {s.index: target.add_stream_from_template(s) for s in copied}
        for packet in source.demux([picture, *copied]):
            if packet.stream.index in copies:
                if packet.size:
                    packet.stream = copies[packet.stream.index]
                    target.mux(packet)
                continue
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                frame.pict_type = 0
                frames += 1
                target.mux(video.encode(frame))
        target.mux(video.encode(None))
    return frames


if __name__ == "__main__":
    print(decode(sys.argv[1]) if len(sys.argv) == 2 else transcode(*sys.argv[1:]))
