"""How dlib's network gets its picture: the part of the face that it sees, at the size that it wants."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
cv2 = pytest.importorskip("cv2")

from train.models.dlib_resnet import DlibDesign, Stretch, interpolation  # noqa: E402

PICTURE = np.random.default_rng(0).integers(0, 256, (2, 11, 13, 3)).astype(np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(16, 19), (11, 13), (7, 30)])
def test_stretching_is_bilinear_interpolation(rows: int, columns: int) -> None:
    ours = np.einsum("rh,nhwc,kw->nrkc", interpolation(11, rows), PICTURE, interpolation(13, columns))
    theirs = [cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_LINEAR) for picture in PICTURE]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_below_a_stretched_picture_there_is_nothing() -> None:
    answer = np.asarray(Stretch(15, 20)(PICTURE))
    theirs = keras.ops.image.resize(PICTURE, (15, 20), interpolation="bilinear")
    np.testing.assert_allclose(answer[:, :15], np.asarray(theirs), atol=1e-3)
    assert answer.shape == (2, 20, 20, 3)
    assert not answer[:, 15:].any()


def test_the_network_sees_its_part_of_the_template() -> None:
    """A change outside of it changes nothing; the lowest row of the template is seen, and black comes after it."""
    design = DlibDesign()
    network = DlibDesign(channels=(4, 6), blocks=(1, 1)).build()
    stretched = keras.Model(network.input, network.get_layer("frame_stretch").output)
    face = np.random.default_rng(1).integers(1, 256, (1, 112, 112, 3)).astype(np.float32)
    seen = np.asarray(stretched(face))
    assert seen.shape == (1, design.side, design.side, 3)
    height = round((112 - design.top) * design.side / design.width)
    assert seen[:, :height].all()
    assert not seen[:, height:].any()
    everything, right = slice(None), slice(design.left + design.width, None)
    above, left = slice(0, design.top), slice(0, design.left)
    for rows, columns in ((above, everything), (everything, left), (everything, right)):
        other = face.copy()
        other[:, rows, columns] = 0
        np.testing.assert_array_equal(stretched(other), seen)
    other = face.copy()
    other[:, -1] = 0
    assert (np.asarray(stretched(other))[:, height - 1] != seen[:, height - 1]).any()
