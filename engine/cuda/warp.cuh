// A face cut out of a picture and turned upright, straight from its YUV samples.
#pragma once

#include "picture.cuh"

namespace iznet {

/// One face. Its region of the picture is halved `halvings` times, so that nothing aliases, and then interpolated.
struct FaceCrop {
  float map[2][3];   ///< affine, pixels of the crop to pixels of the halved region
  int32_t left;      ///< of the region, in pixels of the picture
  int32_t top;
  int32_t width;     ///< of the halved region
  int32_t height;
  int32_t halvings;
};

constexpr int kFacesALaunch = 64;  // as many as fit the 4 KiB that every GPU takes as parameters

struct WarpJob {
  Picture picture;
  Normalisation normalisation;
  int32_t size;      ///< pixels along each side of a crop
  int32_t reserved;
  void* out;
  FaceCrop faces[kFacesALaunch];
};

/// The samples of one component that make a pixel of the halved region, which starts at `start` of the picture.
IZNET_HD Taps region_taps(int start, int halvings, int samples, int shift) {
  const int unit = 1 << shift;
  if (halvings > 0) return area_taps(start, start + (1 << halvings), unit);
  return linear_taps(2 * start + 1 - unit, 2 * unit, samples);
}

template <class Sample>
IZNET_HD Colour region_pixel(const Picture& picture, const FaceCrop& face, int x, int y) {
  const int left = face.left + (x << face.halvings), top = face.top + (y << face.halvings);
  Colour colour = offset(picture);
  Taps across = {}, down = {};
  IZNET_UNROLL_ONCE
  for (int c = 0; c < 3; ++c) {
    const Component& component = picture.components[c];
    if (c < 2) {  // the third component lies as the second does
      across = region_taps(left, face.halvings, component.width, component.shift_x);
      down = region_taps(top, face.halvings, component.height, component.shift_y);
    }
    mix(colour, picture, c, weighted_mean<Sample>(component, across, down));
  }
  return clamped(colour);
}

/// The pixel (x, y) of a crop: between four pixels of the region, black where the region ends.
template <class Sample>
IZNET_HD Colour warp_pixel(const Picture& picture, const FaceCrop& face, int x, int y) {
  const float column = static_cast<float>(x), row = static_cast<float>(y);
  const float across = fused(face.map[0][0], column, fused(face.map[0][1], row, face.map[0][2]));
  const float down = fused(face.map[1][0], column, fused(face.map[1][1], row, face.map[1][2]));
  Colour colour = {0.0f, 0.0f, 0.0f};
  // Also refuses what is not finite or too large to be a whole number.
  const bool near = across > -1.0f && down > -1.0f && across < static_cast<float>(face.width) &&
                    down < static_cast<float>(face.height);
  if (!near) return colour;
  const int left = whole(across), top = whole(down);
  const float right_part = across - static_cast<float>(left), lower_part = down - static_cast<float>(top);
  IZNET_UNROLL_ONCE
  for (int corner = 0; corner < 4; ++corner) {
    const int i = left + (corner & 1), j = top + (corner >> 1);
    const float weight = (corner & 1 ? right_part : 1.0f - right_part) * (corner >> 1 ? lower_part : 1.0f - lower_part);
    if (i < 0 || j < 0 || i >= face.width || j >= face.height || weight == 0.0f) continue;
    const Colour pixel = region_pixel<Sample>(picture, face, i, j);
    colour.red = fused(weight, pixel.red, colour.red);
    colour.green = fused(weight, pixel.green, colour.green);
    colour.blue = fused(weight, pixel.blue, colour.blue);
  }
  return clamped(colour);  // four rounded weights may add up to a hair more than 1
}

}  // namespace iznet
