// A picture scaled, turned, padded and in RGB, in one pass over its samples.
#pragma once

#include "picture.cuh"

namespace iznet {

struct LetterboxJob {
  Picture picture;
  int32_t halvings[3];    ///< of each component, before the rest of its way
  int32_t averaged[3];    ///< whether the rest is averaging over areas; else it is interpolation
  int32_t turns;          ///< quarter turns clockwise that a player makes
  int32_t inner_width;    ///< as displayed, without the padding
  int32_t inner_height;
  int32_t padded_width;
  int32_t padded_height;
  Normalisation normalisation;
  void* out;
};

/// The samples of one component along one axis that make place `x` of `target`.
IZNET_HD Taps scaled_taps(int x, int source, int target, int halvings, bool averaged) {
  const int blocks = source >> halvings;
  const Taps taps = averaged ? area_taps(x * blocks, (x + 1) * blocks, target)
                             : linear_taps((2 * x + 1) * blocks - target, 2 * target, blocks);
  return over_blocks(taps, 1 << halvings);
}

/// The pixel (x, y) of the letterboxed picture; black in the padding.
template <class Sample>
IZNET_HD Colour letterbox_pixel(const LetterboxJob& job, int x, int y) {
  if (x >= job.inner_width || y >= job.inner_height) return {0.0f, 0.0f, 0.0f};
  // Where the pixel lies in the picture as stored, which is scaled to `width` x `height`.
  const bool sideways = job.turns & 1;
  const int width = sideways ? job.inner_height : job.inner_width;
  const int height = sideways ? job.inner_width : job.inner_height;
  int column = sideways ? y : x, row = sideways ? x : y;
  if (job.turns == 2 || job.turns == 3) column = width - 1 - column;
  if (job.turns == 1 || job.turns == 2) row = height - 1 - row;

  Colour colour = offset(job.picture);
  Taps across = {}, down = {};
  IZNET_UNROLL_ONCE
  for (int c = 0; c < 3; ++c) {
    const Component& component = job.picture.components[c];
    if (c < 2) {  // the third component lies as the second does
      across = scaled_taps(column, component.width, width, job.halvings[c], job.averaged[c]);
      down = scaled_taps(row, component.height, height, job.halvings[c], job.averaged[c]);
    }
    mix(colour, job.picture, c, weighted_mean<Sample>(component, across, down));
  }
  return clamped(colour);
}

}  // namespace iznet
