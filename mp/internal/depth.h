// Depth: how deep values may lie within one another in a message; each takes some of the stack of
// who decodes it.

#ifndef MP_MP_INTERNAL_DEPTH_H_
#define MP_MP_INTERNAL_DEPTH_H_

namespace mp::internal {

inline constexpr int kMostDepth = 500;

}  // namespace mp::internal

#endif  // MP_MP_INTERNAL_DEPTH_H_
