// How sharp a crop is: the variance of its Laplacian, as `stream.eyes.sharpness` has it.
#pragma once

#include "portable.cuh"

namespace iznet {

struct SharpnessJob {
  const uint8_t* crops;  ///< [count, size, size, 3] RGB
  float* out;            ///< [count]
  int32_t count;
  int32_t size;
};

/// Grey of a pixel as OpenCV makes it of RGB (ITU-R BT.601 in units of 2^-15, rounded); mirrored beyond the edges.
IZNET_HD int grey_at(const uint8_t* crop, int size, int x, int y) {
  x = x < 0 ? -x : x >= size ? 2 * size - 2 - x : x;
  y = y < 0 ? -y : y >= size ? 2 * size - 2 - y : y;
  const uint8_t* pixel = crop + (static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x)) * 3;
  return (load(pixel) * 9798 + load(pixel + 1) * 19235 + load(pixel + 2) * 3735 + (1 << 14)) >> 15;
}

/// Of the four neighbours, less four times the middle.
IZNET_HD int laplacian(const uint8_t* crop, int size, int x, int y) {
  return grey_at(crop, size, x - 1, y) + grey_at(crop, size, x + 1, y) + grey_at(crop, size, x, y - 1) +
         grey_at(crop, size, x, y + 1) - 4 * grey_at(crop, size, x, y);
}

/// Sums stay whole numbers below 2^53 for every crop up to 16,384 pixels a side: exact in double precision.
IZNET_HD float variance(double sum, double squares, int size) {
  const double pixels = static_cast<double>(size) * size, mean = sum / pixels;
  return static_cast<float>(squares / pixels - mean * mean);
}

}  // namespace iznet
