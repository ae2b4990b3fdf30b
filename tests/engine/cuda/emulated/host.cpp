// The kernels as a library for the host, for tests: the same source, run by simt.hpp.
#include "simt.hpp"

#include "kernels.cu"

namespace {

template <class Job, void (*kernel)(Job)>
void call(const void* parameters) {
  kernel(*static_cast<const Job*>(parameters));
}

struct Kernel {
  const char* name;
  size_t parameters;
  void (*call)(const void*);
};

#define KERNEL(NAME, JOB) {#NAME, sizeof(JOB), call<JOB, NAME>}
#define PIXEL_KERNEL(SUFFIX) KERNEL(letterbox_##SUFFIX, LetterboxJob), KERNEL(warp_##SUFFIX, WarpJob)

constexpr Kernel kKernels[] = {
    PIXEL_KERNEL(u8_bytes),   PIXEL_KERNEL(u8_f16),       PIXEL_KERNEL(u8_f32),
    PIXEL_KERNEL(u16_bytes),  PIXEL_KERNEL(u16_f16),      PIXEL_KERNEL(u16_f32),
    KERNEL(decode, DecodeJob), KERNEL(normalise, NormaliseJob), KERNEL(nearest, NearestJob),
    KERNEL(nearest_of_all, NearestJob), KERNEL(cells_u8, CellsJob), KERNEL(cells_u16, CellsJob),
    KERNEL(draw_u8, DrawJob), KERNEL(draw_u16, DrawJob), KERNEL(sharpness, SharpnessJob)};

struct Field {
  const char* name;
  size_t place;
};

#define SIZE(STRUCT) {#STRUCT, sizeof(STRUCT)}
#define FIELD(STRUCT, NAME) {#STRUCT "." #NAME, offsetof(STRUCT, NAME)}

constexpr Field kLayout[] = {
    SIZE(Component), FIELD(Component, data), FIELD(Component, stride), FIELD(Component, step), FIELD(Component, width),
    FIELD(Component, height), FIELD(Component, shift_x), FIELD(Component, shift_y),
    SIZE(Picture), FIELD(Picture, components), FIELD(Picture, matrix),
    SIZE(Normalisation), FIELD(Normalisation, scale), FIELD(Normalisation, bias),
    SIZE(LetterboxJob), FIELD(LetterboxJob, picture), FIELD(LetterboxJob, halvings), FIELD(LetterboxJob, averaged),
    FIELD(LetterboxJob, turns),
    FIELD(LetterboxJob, inner_width), FIELD(LetterboxJob, inner_height), FIELD(LetterboxJob, padded_width),
    FIELD(LetterboxJob, padded_height), FIELD(LetterboxJob, normalisation), FIELD(LetterboxJob, out),
    SIZE(FaceCrop), FIELD(FaceCrop, map), FIELD(FaceCrop, left), FIELD(FaceCrop, top), FIELD(FaceCrop, width),
    FIELD(FaceCrop, height), FIELD(FaceCrop, halvings),
    SIZE(WarpJob), FIELD(WarpJob, picture), FIELD(WarpJob, normalisation), FIELD(WarpJob, size),
    FIELD(WarpJob, reserved), FIELD(WarpJob, out), FIELD(WarpJob, faces),
    SIZE(Head), FIELD(Head, data), FIELD(Head, rows), FIELD(Head, columns), FIELD(Head, boxes), FIELD(Head, stride),
    SIZE(DecodeJob), FIELD(DecodeJob, heads), FIELD(DecodeJob, sizes), FIELD(DecodeJob, head_count),
    FIELD(DecodeJob, cells), FIELD(DecodeJob, capacity), FIELD(DecodeJob, threshold), FIELD(DecodeJob, faces),
    FIELD(DecodeJob, counts),
    SIZE(NormaliseJob), FIELD(NormaliseJob, in), FIELD(NormaliseJob, out), FIELD(NormaliseJob, rows),
    FIELD(NormaliseJob, columns),
    SIZE(NearestJob), FIELD(NearestJob, embeddings), FIELD(NearestJob, prototypes), FIELD(NearestJob, owners),
    FIELD(NearestJob, partial), FIELD(NearestJob, count), FIELD(NearestJob, prototype_count),
    FIELD(NearestJob, dimension), FIELD(NearestJob, blocks), FIELD(NearestJob, owner), FIELD(NearestJob, first),
    FIELD(NearestJob, second),
    SIZE(Nearest),
    SIZE(CellsJob), FIELD(CellsJob, components), FIELD(CellsJob, columns), FIELD(CellsJob, rows), FIELD(CellsJob, out),
    SIZE(SharpnessJob), FIELD(SharpnessJob, crops), FIELD(SharpnessJob, out), FIELD(SharpnessJob, count),
    FIELD(SharpnessJob, size),
    SIZE(Mark), FIELD(Mark, left), FIELD(Mark, top), FIELD(Mark, right), FIELD(Mark, bottom), FIELD(Mark, thickness),
    FIELD(Mark, ink), FIELD(Mark, text), FIELD(Mark, mask_width), FIELD(Mark, mask),
    SIZE(DrawJob), FIELD(DrawJob, components), FIELD(DrawJob, width), FIELD(DrawJob, height), FIELD(DrawJob, left),
    FIELD(DrawJob, top), FIELD(DrawJob, right), FIELD(DrawJob, bottom), FIELD(DrawJob, count),
    FIELD(DrawJob, reserved), FIELD(DrawJob, marks)};

}  // namespace

extern "C" {

/// Run a kernel. Null: done; else what is wrong.
const char* iznet_launch(const char* name, const void* parameters, size_t size, const unsigned* grid,
                         const unsigned* threads, int descending) {
  for (const Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) != 0) continue;
    if (kernel.parameters != size) return "the kernel takes a struct of another size";
    if (threads[0] * threads[1] * threads[2] % simt::kLanes != 0) return "a block has whole warps";
    const bool ended = simt::run(kernel.call, parameters, {grid[0], grid[1], grid[2]},
                                 {threads[0], threads[1], threads[2]}, descending != 0);
    return ended ? nullptr : "threads wait for others that never come";
  }
  return "no such kernel";
}

/// Name of kernel `i`, null after the last one.
const char* iznet_kernel(unsigned i) { return i < sizeof kKernels / sizeof *kKernels ? kKernels[i].name : nullptr; }

/// Bytes of a struct, or from its start to a field ("Struct.field"); -1 where there is none.
long iznet_layout(const char* name) {
  for (const Field& field : kLayout) {
    if (std::strcmp(field.name, name) == 0) return static_cast<long>(field.place);
  }
  return -1;
}

uint16_t iznet_half_bits(float value) { return half_bits(value); }

}  // extern "C"
