// A stand-in for a GPU: runs kernels.cu on the host, for tests.
//
// The threads of a block are fibers of one thread that take turns. A barrier hands the turn on until everybody is
// there; shuffles and ballots are barriers of a warp that carry values. What waits for ever is told. Threads run in
// ascending or descending order, so that a result that depends on who comes first shows.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};

inline uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

constexpr unsigned kLanes = 32;
constexpr size_t kStack = 128 * 1024;

struct Barrier {
  unsigned wanted = 0, arrived = 0, generation = 0;
};

struct Warp {
  Barrier barrier;
  uint64_t values[2][kLanes];  // the one that is read and the one that is written next
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  uint3 index;
  const Barrier* waits_for = nullptr;
  unsigned generation = 0;
  bool done = false;
};

struct Block {
  void (*body)(const void*) = nullptr;
  const void* parameters = nullptr;
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier barrier;
  unsigned current = 0;
};

inline Block block;

/// To another stack and, some time later, back.
inline void jump(ucontext_t& from, ucontext_t& to, const void* stack, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack, size);
  swapcontext(&from, &to);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  (void)stack, (void)size;
  swapcontext(&from, &to);
#endif
}

#if defined(__SANITIZE_ADDRESS__)
inline const void* scheduler_stack = nullptr;
inline size_t scheduler_size = 0;
#else
constexpr const void* scheduler_stack = nullptr;
constexpr size_t scheduler_size = 0;
#endif

inline void to_scheduler() {
  jump(block.fibers[block.current].context, block.scheduler, scheduler_stack, scheduler_size);
}

/// A thread of one block after the other.
inline void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
  for (;;) {
    block.body(block.parameters);
    block.fibers[block.current].done = true;
    to_scheduler();
  }
}

/// Fibers for so many threads, each at the start of its work.
inline void make_fibers(size_t count) {
  block.fibers = std::vector<Fiber>(count);
  for (Fiber& fiber : block.fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
}

inline void wait(Barrier& barrier) {
  if (++barrier.arrived == barrier.wanted) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  Fiber& fiber = block.fibers[block.current];
  fiber.waits_for = &barrier;
  fiber.generation = barrier.generation;
  to_scheduler();
}

/// Every lane gives a value and sees those of all lanes.
template <class T>
const uint64_t* exchange(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  Warp& warp = block.warps[block.current / kLanes];
  uint64_t* values = warp.values[warp.barrier.generation & 1];
  std::memcpy(&values[block.current % kLanes], &value, sizeof value);
  wait(warp.barrier);
  return values;
}

/// Run one block to its end. False: some threads wait for others that never come, and the fibers are of no more use.
inline bool run_block(bool descending) {
  const unsigned count = static_cast<unsigned>(block.fibers.size());
  for (Fiber& fiber : block.fibers) {
    fiber.waits_for = nullptr;
    fiber.done = false;
  }
  block.barrier = {count, 0, 0};
  for (Warp& warp : block.warps) warp.barrier = {kLanes, 0, 0};
  for (unsigned done = 0; done < count;) {
    bool moved = false;
    for (unsigned i = 0; i < count; ++i) {
      block.current = descending ? count - 1 - i : i;
      Fiber& fiber = block.fibers[block.current];
      if (fiber.done || (fiber.waits_for && fiber.waits_for->generation == fiber.generation)) continue;
      fiber.waits_for = nullptr;
      threadIdx = fiber.index;
      jump(block.scheduler, fiber.context, fiber.stack.get(), kStack);
      moved = true;
      done += fiber.done;
    }
    if (!moved) return false;
  }
  return true;
}

inline bool run(void (*body)(const void*), const void* parameters, uint3 grid, uint3 threads, bool descending) {
  block.body = body;
  block.parameters = parameters;
  const size_t count = threads.x * threads.y * threads.z;
  if (block.fibers.size() != count) make_fibers(count);  // else those of the last run serve again
  block.warps = std::vector<Warp>(block.fibers.size() / kLanes);
  gridDim = grid;
  blockDim = threads;
  unsigned i = 0;
  for (Fiber& fiber : block.fibers) {
    fiber.index = {i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y)};
    ++i;
  }
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z) {
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) {
        if (!run_block(descending)) {
          block.fibers.clear();
          return false;
        }
      }
    }
  }
  return true;
}

}  // namespace simt

inline void __syncthreads() { simt::wait(simt::block.barrier); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int distance) {
  const uint64_t* values = simt::exchange(value);
  std::memcpy(&value, &values[(simt::block.current % simt::kLanes) ^ static_cast<unsigned>(distance)], sizeof value);
  return value;
}

inline unsigned __ballot_sync(unsigned, bool vote) {
  const uint64_t* values = simt::exchange(static_cast<uint64_t>(vote));
  unsigned votes = 0;
  for (unsigned lane = 0; lane < simt::kLanes; ++lane) votes |= static_cast<unsigned>(values[lane] & 1) << lane;
  return votes;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
