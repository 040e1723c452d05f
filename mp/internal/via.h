// Via: by what a message travels. Descriptors pass only through a Connection.

#ifndef MP_MP_INTERNAL_VIA_H_
#define MP_MP_INTERNAL_VIA_H_

namespace mp {

enum class Via { kMessage, kConnection };

}  // namespace mp

#endif  // MP_MP_INTERNAL_VIA_H_
