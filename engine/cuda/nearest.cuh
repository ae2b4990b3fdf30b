// The nearest prototypes of large galleries, and unit vectors.
#pragma once

#include "portable.cuh"

namespace iznet {

struct NormaliseJob {
  const float* in;    ///< [rows, columns]
  float* out;         ///< likewise; may be `in`
  int32_t rows;
  int32_t columns;
};

/// What a row is multiplied by to have length one; a row of zeros, or one that is not finite, stays as it is.
IZNET_HD double to_unit(double squares) {
#ifdef __CUDACC__
  return squares > 0.0 ? 1.0 / sqrt(squares) : 1.0;
#else
  return squares > 0.0 ? 1.0 / std::sqrt(squares) : 1.0;
#endif
}

/// The best of what has been looked at: the nearest prototype, and the nearest of anybody else.
struct Nearest {
  float best;       ///< cosine; `kNone` where there is none
  float other;
  int32_t index;    ///< of the nearest prototype; -1 where there is none
  int32_t owner;    ///< whose it is
};

constexpr float kNone = -3.402823466e+38f;

IZNET_HD Nearest nobody() { return {kNone, kNone, -1, -1}; }

/// Of two findings over different prototypes the one over both. Of equal cosines the earlier prototype wins, so the
/// order of merging does not matter.
IZNET_HD Nearest merge(const Nearest& a, const Nearest& b) {
  const bool first = b.index < 0 || (a.index >= 0 && (a.best > b.best || (a.best == b.best && a.index < b.index)));
  // Chosen value by value: choosing between structs would put them into memory.
  const float best = first ? a.best : b.best, beaten = first ? b.best : a.best;
  const float other = first ? a.other : b.other, third = first ? b.other : a.other;
  const float theirs = a.owner != b.owner ? beaten : third;
  return {best, other > theirs ? other : theirs, first ? a.index : b.index, first ? a.owner : b.owner};
}

/// What one cosine says; one that is not finite says nothing.
IZNET_HD Nearest finding(float cosine, int index, int owner) {
  return finite(cosine) ? Nearest{cosine, kNone, index, owner} : nobody();
}

struct NearestJob {
  const float* embeddings;   ///< [count, dimension] unit vectors, each at a multiple of 16 bytes
  const float* prototypes;   ///< [prototype_count, dimension] likewise
  const int32_t* owners;     ///< [prototype_count]
  Nearest* partial;          ///< [count, blocks]: what each block finds
  int32_t count;
  int32_t prototype_count;
  int32_t dimension;         ///< a multiple of 4
  int32_t blocks;
  int32_t* owner;            ///< [count] out: -1 where there is none
  float* first;              ///< [count] out: cosine to the nearest prototype, -1 where there is none
  float* second;             ///< [count] out: cosine to the nearest prototype of anybody else
};

IZNET_HD float dot(const Quad& a, const Quad& b, float sum) {
  return fused(a.w, b.w, fused(a.z, b.z, fused(a.y, b.y, fused(a.x, b.x, sum))));
}

}  // namespace iznet
