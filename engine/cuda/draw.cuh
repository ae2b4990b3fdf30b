// Outlines and plates with names, drawn into the samples of a picture: the whole-number arithmetic of `stream.strokes`.
#pragma once

#include "picture.cuh"

namespace iznet {

/// What is drawn in one place, in whole pixels of the stored picture, inside it.
struct Mark {
  int32_t left, top, right, bottom;
  int32_t thickness;    ///< of an outline's strokes, inside the rectangle
  int32_t ink[3];       ///< the outline's or the plate's samples
  int32_t text[3];      ///< the name's
  int32_t mask_width;
  const uint8_t* mask;  ///< [bottom - top or more, mask_width]: 255 where a plate shows text; null for an outline
};

constexpr int kMarksALaunch = 64;

struct DrawJob {
  Component components[3];  ///< written to, whatever `Component` says
  int32_t width;            ///< of the picture, in pixels
  int32_t height;
  int32_t left;             ///< of all marks together
  int32_t top;
  int32_t right;
  int32_t bottom;
  int32_t count;
  int32_t reserved;
  Mark marks[kMarksALaunch];
};

/// Length of the part of first…last that lies in low…high.
IZNET_HD int span(int first, int last, int low, int high) {
  const int start = first > low ? first : low, end = last < high ? last : high;
  return end > start ? end - start : 0;
}

/// The pixels that share a sample: fewer than 2^shift each way at the right and lower rim.
struct Site {
  int left, top, right, bottom;
  IZNET_HD int area() const { return (right - left) * (bottom - top); }
};

IZNET_HD Site site_of(const DrawJob& job, const Component& component, int column, int row) {
  const int right = (column + 1) << component.shift_x, bottom = (row + 1) << component.shift_y;
  return {column << component.shift_x, row << component.shift_y, right < job.width ? right : job.width,
          bottom < job.height ? bottom : job.height};
}

/// A sample under one mark, in proportion to how many of its pixels are covered.
IZNET_HD int marked(const Mark& mark, int component, const Site& site, int value) {
  const int whole = site.area();
  const int across = span(site.left, site.right, mark.left, mark.right);
  const int down = span(site.top, site.bottom, mark.top, mark.bottom);
  if (across * down == 0) return value;
  const int ink = mark.ink[component];
  if (mark.mask == nullptr) {
    const int t = mark.thickness;
    const int covered = across * down - span(site.left, site.right, mark.left + t, mark.right - t) *
                                            span(site.top, site.bottom, mark.top + t, mark.bottom - t);
    return (value * (whole - covered) + ink * covered + whole / 2) / whole;
  }
  const int left = site.left > mark.left ? site.left : mark.left, top = site.top > mark.top ? site.top : mark.top;
  int text = 0;
  for (int y = top; y < top + down; ++y) {
    const uint8_t* line = mark.mask + static_cast<size_t>(y - mark.top) * static_cast<size_t>(mark.mask_width);
    for (int x = left; x < left + across; ++x) text += load(line + (x - mark.left));
  }
  const int covered = across * down;
  const int mixed = 255 * (ink * covered + value * (whole - covered)) + (mark.text[component] - ink) * text;
  return (2 * mixed + 255 * whole) / (510 * whole);
}

/// A sample under all marks, one over the other in their order.
IZNET_HD int drawn(const DrawJob& job, int component, const Site& site, int value) {
  IZNET_UNROLL_ONCE
  for (int m = 0; m < job.count; ++m) value = marked(job.marks[m], component, site, value);
  return value;
}

}  // namespace iznet
