// From a detector's output maps to boxes.
#pragma once

#include "portable.cuh"

namespace iznet {

constexpr int kChannels = 15;  // score · left, top, right, bottom · five times dx, dy
constexpr int kHeads = 8;
constexpr int kPicturesALaunch = 32;

/// One output map: float32 [pictures, rows, columns, 15 · boxes].
struct Head {
  const float* data;
  int32_t rows;
  int32_t columns;
  int32_t boxes;    ///< that every cell claims
  int32_t stride;   ///< pixels from a cell to the next
};

struct DecodeJob {
  Head heads[kHeads];
  float sizes[kPicturesALaunch][2];  ///< width and height of each picture without its padding
  int32_t head_count;
  int32_t cells;     ///< of one picture, all heads and boxes together
  int32_t capacity;  ///< rows of `faces` that each picture has
  float threshold;
  float* faces;      ///< [pictures, capacity, 15]
  int32_t* counts;   ///< [pictures]: how many faces are claimed, which may be more than fit
};

/// One claim: its 15 numbers, and where its cell lies.
struct Claim {
  const float* cell;
  float x, y;        ///< the cell's middle, in pixels
  float stride;
};

/// Claim `index` of a picture: by head, then by box, then row by row.
IZNET_HD Claim claim_at(const DecodeJob& job, int picture, int index) {
  int h = 0;
  for (; h < job.head_count - 1; ++h) {
    const int claims = job.heads[h].rows * job.heads[h].columns * job.heads[h].boxes;
    if (index < claims) break;
    index -= claims;
  }
  const Head& head = job.heads[h];
  const int area = head.rows * head.columns, box = index / area, position = index - box * area;
  const int row = position / head.columns, column = position - row * head.columns;
  const float stride = static_cast<float>(head.stride);
  const size_t cell = static_cast<size_t>(picture) * static_cast<size_t>(area) + static_cast<size_t>(position);
  return {head.data + (cell * static_cast<size_t>(head.boxes) + static_cast<size_t>(box)) * kChannels,
          (static_cast<float>(column) + 0.5f) * stride, (static_cast<float>(row) + 0.5f) * stride, stride};
}

/// x1, y1, x2, y2 of a claim, clipped to the picture.
struct Box {
  float left, top, right, bottom;
};

IZNET_HD Box box_of(const Claim& claim, float width, float height) {
  return {clamp(fused(-load(claim.cell + 1), claim.stride, claim.x), 0.0f, width),
          clamp(fused(-load(claim.cell + 2), claim.stride, claim.y), 0.0f, height),
          clamp(fused(load(claim.cell + 3), claim.stride, claim.x), 0.0f, width),
          clamp(fused(load(claim.cell + 4), claim.stride, claim.y), 0.0f, height)};
}

/// Whether a claim is a face: sure enough, finite, not empty after clipping, landmarks not all in one place.
IZNET_HD bool is_face(const Claim& claim, float threshold, float width, float height) {
  if (!(load(claim.cell) >= threshold)) return false;
  bool all_finite = true, spread = false;
  for (int k = 0; k < kChannels; ++k) {
    const float value = load(claim.cell + k);
    all_finite = all_finite && finite(value);
    if (k >= 7) spread = spread || value != load(claim.cell + 5 + (k - 5) % 2);
  }
  const Box box = box_of(claim, width, height);
  return all_finite && spread && box.right > box.left && box.bottom > box.top;
}

/// Write the row of a face: box, score, five points, in pixels.
IZNET_HD void write_face(const Claim& claim, float width, float height, float* face) {
  const Box box = box_of(claim, width, height);
  face[0] = box.left;
  face[1] = box.top;
  face[2] = box.right;
  face[3] = box.bottom;
  face[4] = load(claim.cell);
  for (int k = 5; k < kChannels; ++k) {
    face[k] = fused(load(claim.cell + k), claim.stride, k % 2 ? claim.x : claim.y);
  }
}

}  // namespace iznet
