// The kernels. Each takes one struct by value and leaves the arithmetic to the headers; what is here is who does what.
//
// Tests run this very file on the host: tests/engine/cuda/emulated/simt.hpp stands in for the GPU there.
#include "cells.cuh"
#include "decode.cuh"
#include "draw.cuh"
#include "letterbox.cuh"
#include "nearest.cuh"
#include "sharpness.cuh"
#include "warp.cuh"

using namespace iznet;

namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kLanes = 32;

__device__ __forceinline__ uint8_t to_byte(float value) { return static_cast<uint8_t>(value + 0.5f); }

__device__ __forceinline__ void store(float* address, float value) { *address = value; }
__device__ __forceinline__ void store(uint16_t* address, float value) { *address = half_bits(value); }

/// Where a block of `Columns` x `Rows` threads, one a pixel, leaves its pixels of a `width` x `height` picture.
///
/// Planes: neighbouring threads write neighbouring values, which the hardware joins to whole sectors.
template <class Out, int Columns, int Rows>
struct Canvas {
  static __device__ __forceinline__ void write(void* out, int width, int height, const Colour& colour,
                                               const Normalisation& to) {
    const int x = static_cast<int>(blockIdx.x) * Columns + static_cast<int>(threadIdx.x);
    const int y = static_cast<int>(blockIdx.y) * Rows + static_cast<int>(threadIdx.y);
    if (x >= width || y >= height) return;
    const size_t plane = static_cast<size_t>(width) * static_cast<size_t>(height);
    Out* pixel = static_cast<Out*>(out) + static_cast<size_t>(y) * static_cast<size_t>(width) + x;
    store(pixel, fused(colour.red, to.scale[0], to.bias[0]));
    store(pixel + plane, fused(colour.green, to.scale[1], to.bias[1]));
    store(pixel + 2 * plane, fused(colour.blue, to.scale[2], to.bias[2]));
  }
};

/// Bytes, three a pixel: collected in shared memory, so that words go out instead of single bytes. `width` is a
/// multiple of 4.
template <int Columns, int Rows>
struct Canvas<uint8_t, Columns, Rows> {
  static __device__ __forceinline__ void write(void* out, int width, int height, const Colour& colour,
                                               const Normalisation&) {
    constexpr int kWords = Columns * 3 / 4;
    __shared__ uint32_t tile[Rows][kWords];
    const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
    uint8_t* pixel = reinterpret_cast<uint8_t*>(tile[row]) + 3 * column;
    pixel[0] = to_byte(colour.red);
    pixel[1] = to_byte(colour.green);
    pixel[2] = to_byte(colour.blue);
    __syncthreads();
    const int y = static_cast<int>(blockIdx.y) * Rows + row;
    const int word = static_cast<int>(blockIdx.x) * kWords + column, words = width / 4 * 3;
    if (column < kWords && word < words && y < height) {
      static_cast<uint32_t*>(out)[static_cast<size_t>(y) * static_cast<size_t>(words) + word] = tile[row][column];
    }
  }
};

/// Grid: (padded width / 32, padded height / 8). A warp reads a stretch of each row of the picture from end to end.
template <class Sample, class Out>
__device__ __forceinline__ void letterbox(const LetterboxJob& job) {
  const int x = static_cast<int>(blockIdx.x * 32 + threadIdx.x), y = static_cast<int>(blockIdx.y * 8 + threadIdx.y);
  Canvas<Out, 32, 8>::write(job.out, job.padded_width, job.padded_height, letterbox_pixel<Sample>(job, x, y),
                            job.normalisation);
}

/// Grid: (size / 16, size / 16, faces). A crop is turned, so square blocks touch the fewest lines of the cache.
template <class Sample, class Out>
__device__ __forceinline__ void warp(const WarpJob& job) {
  const int x = static_cast<int>(blockIdx.x * 16 + threadIdx.x), y = static_cast<int>(blockIdx.y * 16 + threadIdx.y);
  const size_t crop = static_cast<size_t>(job.size) * static_cast<size_t>(job.size) * 3;
  Canvas<Out, 16, 16>::write(static_cast<Out*>(job.out) + crop * blockIdx.z, job.size, job.size,
                             warp_pixel<Sample>(job.picture, job.faces[blockIdx.z], x, y), job.normalisation);
}

/// Grid: (cells / 64, 1, 3). One thread a cell of a component.
template <class Sample>
__device__ __forceinline__ void cells(const CellsJob& job) {
  const int cell = static_cast<int>(blockIdx.x * 64 + threadIdx.x), c = static_cast<int>(blockIdx.z);
  if (cell >= job.columns * job.rows) return;
  static_cast<Sample*>(job.out)[c * job.columns * job.rows + cell] =
      cell_mean<Sample>(job.components[c], cell % job.columns, cell / job.columns, job.columns, job.rows);
}

/// Grid: (width / 32, height / 8, 3) of what all marks cover together. One thread a sample.
template <class Sample>
__device__ __forceinline__ void draw(const DrawJob& job) {
  const int c = static_cast<int>(blockIdx.z);
  const Component& component = job.components[c];
  const int column = (job.left >> component.shift_x) + static_cast<int>(blockIdx.x * 32 + threadIdx.x);
  const int row = (job.top >> component.shift_y) + static_cast<int>(blockIdx.y * 8 + threadIdx.y);
  if (column << component.shift_x >= job.right || row << component.shift_y >= job.bottom) return;
  char* line = static_cast<char*>(const_cast<void*>(component.data)) + static_cast<ptrdiff_t>(row) * component.stride;
  Sample* sample = reinterpret_cast<Sample*>(line) + static_cast<ptrdiff_t>(column) * component.step;
  const int before = *sample, after = drawn(job, c, site_of(job, component, column, row), before);
  if (after != before) *sample = static_cast<Sample>(after);
}

__device__ __forceinline__ Nearest from_lane(const Nearest& mine, int distance) {
  return {__shfl_xor_sync(kAllLanes, mine.best, distance), __shfl_xor_sync(kAllLanes, mine.other, distance),
          __shfl_xor_sync(kAllLanes, mine.index, distance), __shfl_xor_sync(kAllLanes, mine.owner, distance)};
}

}  // namespace

// Four blocks of 256 on a multiprocessor leave 64 registers a thread, which is enough; without that word ptxas gives
// some of the kernels fewer and spills.
#define PIXEL_KERNELS(SUFFIX, SAMPLE, OUT)                                        \
  extern "C" __global__ void __launch_bounds__(256, 4)                            \
  letterbox_##SUFFIX(const __grid_constant__ LetterboxJob job) {                  \
    letterbox<SAMPLE, OUT>(job);                                                  \
  }                                                                               \
  extern "C" __global__ void __launch_bounds__(256, 4)                            \
  warp_##SUFFIX(const __grid_constant__ WarpJob job) {                            \
    warp<SAMPLE, OUT>(job);                                                       \
  }

PIXEL_KERNELS(u8_bytes, uint8_t, uint8_t)
PIXEL_KERNELS(u8_f16, uint8_t, uint16_t)
PIXEL_KERNELS(u8_f32, uint8_t, float)
PIXEL_KERNELS(u16_bytes, uint16_t, uint8_t)
PIXEL_KERNELS(u16_f16, uint16_t, uint16_t)
PIXEL_KERNELS(u16_f32, uint16_t, float)

extern "C" __global__ void __launch_bounds__(64) cells_u8(const __grid_constant__ CellsJob job) { cells<uint8_t>(job); }
extern "C" __global__ void __launch_bounds__(64) cells_u16(const __grid_constant__ CellsJob job) {
  cells<uint16_t>(job);
}

extern "C" __global__ void __launch_bounds__(256, 4) draw_u8(const __grid_constant__ DrawJob job) {
  draw<uint8_t>(job);
}
extern "C" __global__ void __launch_bounds__(256, 4) draw_u16(const __grid_constant__ DrawJob job) {
  draw<uint16_t>(job);
}

/// Grid: (crops). One block a crop; a warp adds up by exchange, eight warps through shared memory.
extern "C" __global__ void __launch_bounds__(256) sharpness(const __grid_constant__ SharpnessJob job) {
  constexpr int kThreads = 256, kWarps = kThreads / kLanes;
  __shared__ double sums[kWarps][2];
  const int thread = static_cast<int>(threadIdx.x), pixels = job.size * job.size;
  const uint8_t* crop = job.crops + static_cast<size_t>(blockIdx.x) * static_cast<size_t>(pixels) * 3;
  double sum = 0.0, squares = 0.0;
  IZNET_UNROLL_ONCE
  for (int i = thread; i < pixels; i += kThreads) {
    const int value = laplacian(crop, job.size, i % job.size, i / job.size);
    sum += value;
    squares += value * value;
  }
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, distance);
    squares += __shfl_xor_sync(kAllLanes, squares, distance);
  }
  if (thread % kLanes == 0) {
    sums[thread / kLanes][0] = sum;
    sums[thread / kLanes][1] = squares;
  }
  __syncthreads();
  if (thread == 0) {
    for (int w = 1; w < kWarps; ++w) {
      sum += sums[w][0];
      squares += sums[w][1];
    }
    job.out[blockIdx.x] = variance(sum, squares, job.size);
  }
}

/// Grid: (pictures). One block a picture looks at 512 claims at a time and keeps them in order by counting: the same
/// faces in the same rows every time, without an atomic operation. Scores lie 60 bytes apart, so a warp's load takes
/// one sector a lane; the maps were written just before and come from the second-level cache.
extern "C" __global__ void __launch_bounds__(512) decode(const __grid_constant__ DecodeJob job) {
  constexpr int kThreads = 512, kWarps = kThreads / kLanes;
  __shared__ int kept_by[kWarps];
  const int picture = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kLanes, warp = thread / kLanes;
  const float width = job.sizes[picture][0], height = job.sizes[picture][1];
  float* faces = job.faces + static_cast<size_t>(picture) * static_cast<size_t>(job.capacity) * kChannels;

  int found = 0;
  for (int start = 0; start < job.cells; start += kThreads) {
    const int index = start + thread;
    const Claim claim = claim_at(job, picture, index < job.cells ? index : 0);
    const bool keep = index < job.cells && is_face(claim, job.threshold, width, height);
    const unsigned votes = __ballot_sync(kAllLanes, keep);
    if (lane == 0) kept_by[warp] = __popc(votes);
    __syncthreads();
    int row = found + __popc(votes & ((1u << lane) - 1));
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) row += kept_by[w];
      found += kept_by[w];
    }
    if (keep && row < job.capacity) write_face(claim, width, height, faces + static_cast<size_t>(row) * kChannels);
    __syncthreads();  // the counts are read before the next round writes them
  }
  if (thread == 0) job.counts[picture] = found;
}

/// Grid: (rows / 4). A warp a row; sums in double precision, as on the CPU.
extern "C" __global__ void __launch_bounds__(128) normalise(const __grid_constant__ NormaliseJob job) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int row = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / kLanes;
  if (row >= job.rows) return;  // a whole warp at a time
  const size_t start = static_cast<size_t>(row) * static_cast<size_t>(job.columns);
  double squares = 0.0;
  for (int d = lane; d < job.columns; d += kLanes) {
    const double value = job.in[start + d];
    squares += value * value;
  }
  for (int distance = 16; distance > 0; distance /= 2) squares += __shfl_xor_sync(kAllLanes, squares, distance);
  const double factor = to_unit(squares);
  for (int d = lane; d < job.columns; d += kLanes) {
    job.out[start + d] = static_cast<float>(job.in[start + d] * factor);
  }
}

/// Grid: (blocks, embeddings / 8). Eight warps a block; a warp takes four prototypes at a time, which it reads once, 16
/// bytes a lane, and eight embeddings, which stay in the first-level cache. Every lane adds up its part of the 32 dot
/// products; then five rounds of exchange, each with half as many values as the one before, leave lane l with the whole
/// of product l: prototype l / 8, embedding l % 8.
extern "C" __global__ void __launch_bounds__(256, 2) nearest(const __grid_constant__ NearestJob job) {
  constexpr int kWarps = 8, kRows = 4, kGroup = 8, kProducts = kRows * kGroup;
  __shared__ Nearest found_by[kWarps][kGroup];
  const int lane = static_cast<int>(threadIdx.x) % kLanes, warp = static_cast<int>(threadIdx.x) / kLanes;
  const int group = static_cast<int>(blockIdx.y) * kGroup;
  const size_t dimension = static_cast<size_t>(job.dimension);

  Nearest found = nobody();
  for (int row = (static_cast<int>(blockIdx.x) * kWarps + warp) * kRows; row < job.prototype_count;
       row += static_cast<int>(gridDim.x) * kWarps * kRows) {
    float products[kProducts];
    IZNET_UNROLL
    for (int i = 0; i < kProducts; ++i) products[i] = 0.0f;
    IZNET_UNROLL_ONCE
    for (int d = lane * 4; d < job.dimension; d += kLanes * 4) {
      Quad prototypes[kRows];
      IZNET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int safe = row + r < job.prototype_count ? row + r : row;
        prototypes[r] = load_quad(job.prototypes + static_cast<size_t>(safe) * dimension + d);
      }
      IZNET_UNROLL
      for (int n = 0; n < kGroup; ++n) {
        const int safe = group + n < job.count ? group + n : group;
        const Quad embedding = load_quad(job.embeddings + static_cast<size_t>(safe) * dimension + d);
        IZNET_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float& product = products[r * kGroup + n];
          product = dot(prototypes[r], embedding, product);
        }
      }
    }
    IZNET_UNROLL
    for (int distance = kProducts / 2; distance > 0; distance /= 2) {
      const bool upper = lane & distance;
      IZNET_UNROLL
      for (int i = 0; i < distance; ++i) {
        const float mine = upper ? products[i + distance] : products[i];
        const float theirs = upper ? products[i] : products[i + distance];
        products[i] = mine + __shfl_xor_sync(kAllLanes, theirs, distance);
      }
    }
    const int prototype = row + lane / kGroup;
    if (prototype < job.prototype_count) {
      found = merge(found, finding(products[0], prototype, load(job.owners + prototype)));
    }
  }
  found = merge(found, from_lane(found, kGroup));
  found = merge(found, from_lane(found, 2 * kGroup));
  if (lane < kGroup) found_by[warp][lane] = found;
  __syncthreads();
  const int n = static_cast<int>(threadIdx.x);
  if (n < kGroup && group + n < job.count) {
    Nearest all = found_by[0][n];
    for (int w = 1; w < kWarps; ++w) all = merge(all, found_by[w][n]);
    job.partial[static_cast<size_t>(group + n) * gridDim.x + blockIdx.x] = all;
  }
}

/// Grid: (embeddings). A warp an embedding puts together what the blocks of `nearest` found.
extern "C" __global__ void __launch_bounds__(32) nearest_of_all(const __grid_constant__ NearestJob job) {
  const int lane = static_cast<int>(threadIdx.x), n = static_cast<int>(blockIdx.x);
  Nearest found = nobody();
  for (int block = lane; block < job.blocks; block += kLanes) {
    found = merge(found, job.partial[static_cast<size_t>(n) * static_cast<size_t>(job.blocks) + block]);
  }
  IZNET_UNROLL_ONCE
  for (int distance = 16; distance > 0; distance /= 2) found = merge(found, from_lane(found, distance));
  if (lane == 0) {
    job.owner[n] = found.index < 0 ? -1 : found.owner;
    job.first[n] = found.index < 0 ? -1.0f : clamp(found.best, -1.0f, 1.0f);
    job.second[n] = found.index < 0 ? -1.0f : clamp(found.other, -1.0f, 1.0f);
  }
}
