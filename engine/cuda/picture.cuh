// A decoded picture where the decoder left it, and how a value between its samples is made.
#pragma once

#include "portable.cuh"

namespace iznet {

/// Where the samples of Y, U or V (or R, G, B) lie. Covers planar, semi-planar (step 2) and packed layouts alike.
struct Component {
  const void* data;    ///< the first sample
  int32_t stride;      ///< bytes from a row to the next; negative for a picture stored bottom up
  int32_t step;        ///< samples from one of this component to the next in a row
  int32_t width;       ///< in samples of this component
  int32_t height;
  int32_t shift_x;     ///< log2 of how many columns of the picture share a sample
  int32_t shift_y;
};

struct Picture {
  Component components[3];  ///< the last two are of one size
  float matrix[3][4];  ///< affine, stored samples to RGB in 0…255: BT.601, 709, 2020, either range, any depth
};

/// RGB in 0…255, gamma-coded as the picture is.
struct Colour {
  float red, green, blue;
};

/// The samples along one axis that make a value, and their weights: `lead` samples of weight `head`, samples of weight
/// `body` up to position `trail`, then samples of weight `tail`. Weights add up to 1.
struct Taps {
  int first, count, lead, trail;
  float head, body, tail;

  IZNET_HD float weight(int i) const { return i < lead ? head : i < trail ? body : tail; }
};

/// The same taps where each of their samples is a block of `block` samples, which count alike.
IZNET_HD Taps over_blocks(const Taps& taps, int block) {
  const float share = 1.0f / static_cast<float>(block);
  return {taps.first * block, taps.count * block, taps.lead * block, taps.trail * block,
          taps.head * share, taps.body * share, taps.tail * share};
}

/// Interpolation between the middles of two neighbours among `samples` samples, `numerator / denominator` right of the
/// middle of the first one. Beyond the first and the last one their value goes on.
IZNET_HD Taps linear_taps(int numerator, int denominator, int samples) {
  int left = numerator < 0 ? -1 : numerator / denominator;
  float part = static_cast<float>(numerator - left * denominator) / static_cast<float>(denominator);
  if (left < 0 || left >= samples - 1) {
    left = left < 0 ? 0 : samples - 1;
    part = 0.0f;
  }
  return {left, part > 0.0f ? 2 : 1, 1, 2, 1.0f - part, part, 0.0f};
}

/// The mean over the stretch from `low / unit` to `high / unit` samples, each sample by how much of it lies inside.
IZNET_HD Taps area_taps(int low, int high, int unit) {
  const int first = low / unit, last = (high - 1) / unit;
  const int end = (first + 1) * unit < high ? (first + 1) * unit : high;
  const float share = 1.0f / static_cast<float>(high - low);
  return {first, last - first + 1, 1, last - first, static_cast<float>(end - low) * share,
          static_cast<float>(unit) * share, static_cast<float>(high - last * unit) * share};
}

/// The weighted mean of samples of type `Sample` (uint8_t or uint16_t) of one component.
template <class Sample>
IZNET_HD float weighted_mean(const Component& component, const Taps& across, const Taps& down) {
  const char* row = static_cast<const char*>(component.data) + static_cast<ptrdiff_t>(down.first) * component.stride +
                    static_cast<ptrdiff_t>(across.first) * component.step * static_cast<ptrdiff_t>(sizeof(Sample));
  float total = 0.0f;
  IZNET_UNROLL_ONCE
  for (int j = 0; j < down.count; ++j, row += component.stride) {
    const Sample* sample = reinterpret_cast<const Sample*>(row);
    float line = 0.0f;
    IZNET_UNROLL_TWICE
    for (int i = 0; i < across.count; ++i, sample += component.step) {
      line = fused(across.weight(i), static_cast<float>(load(sample)), line);
    }
    total = fused(down.weight(j), line, total);
  }
  return total;
}

/// Add what one component contributes to a colour; `column` is its place in the matrix.
IZNET_HD void mix(Colour& colour, const Picture& picture, int column, float value) {
  colour.red = fused(picture.matrix[0][column], value, colour.red);
  colour.green = fused(picture.matrix[1][column], value, colour.green);
  colour.blue = fused(picture.matrix[2][column], value, colour.blue);
}

IZNET_HD Colour offset(const Picture& picture) {
  return {picture.matrix[0][3], picture.matrix[1][3], picture.matrix[2][3]};
}

IZNET_HD Colour clamped(const Colour& colour) {
  return {clamp(colour.red, 0.0f, 255.0f), clamp(colour.green, 0.0f, 255.0f), clamp(colour.blue, 0.0f, 255.0f)};
}

/// How a colour is handed to a network, beside its layout: value · scale + bias for each channel. Ignored for bytes.
struct Normalisation {
  float scale[3];
  float bias[3];
};

}  // namespace iznet
