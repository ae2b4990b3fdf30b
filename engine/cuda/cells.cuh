// A picture in a few cells, by which shots are told apart: the whole-number arithmetic of `stream.colours.cell_means`.
#pragma once

#include "picture.cuh"

namespace iznet {

struct CellsJob {
  Component components[3];
  int32_t columns;  ///< of cells
  int32_t rows;
  void* out;        ///< [3, rows, columns] of the samples' type
};

/// The mean of up to eight samples of two rows of a cell, rounded.
template <class Sample>
IZNET_HD Sample cell_mean(const Component& component, int column, int row, int columns, int rows) {
  const int top = row * component.height / rows, below = (row + 1) * component.height / rows;
  const int high = below - top > 1 ? below - top : 1;
  const int left = column * component.width / columns, end = (column + 1) * component.width / columns;
  const int right = end > left + 1 ? end : left + 1;
  const int step = (right - left) / 8 > 1 ? (right - left) / 8 : 1;
  unsigned total = 0, count = 0;
  IZNET_UNROLL_ONCE
  for (int part = 1; part <= 3; part += 2) {
    const int y = top + part * high / 4;
    const Sample* samples = reinterpret_cast<const Sample*>(static_cast<const char*>(component.data) +
                                                            static_cast<ptrdiff_t>(y) * component.stride);
    IZNET_UNROLL_ONCE
    for (int x = left + step / 2; x < right; x += step) {
      total += load(samples + static_cast<ptrdiff_t>(x) * component.step);
      ++count;
    }
  }
  return static_cast<Sample>((total + count / 2) / count);
}

}  // namespace iznet
