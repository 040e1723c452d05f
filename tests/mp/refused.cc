// What cannot be sent: it does not compile, and refused_test.sh looks at what the compiler says.

#include <atomic>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mp/codec.h"
#include "mp/fd.h"
#include "mp/pipe.h"
#include "mp/queue.h"

struct WithView {
  int n;
  std::vector<std::string_view> names;
};
class Private {
 public:
  explicit Private(int n);

 private:
  std::string text_;
};
struct Line {};
template <>
struct mp::TravelsOnlyThroughConnection<Line> : std::true_type {};

template <class T>
bool Send() {
  return mp::MustBeEncodable<T>();
}

template bool Send<WithView>();
template bool Send<int*>();
template bool Send<std::span<int>>();
template bool Send<std::reference_wrapper<int>>();
template bool Send<std::function<void()>>();
template bool Send<std::atomic<int>>();
template bool Send<std::vector<std::mutex>>();
template bool Send<Private>();
template bool Send<std::vector<Line>>();

template class mp::Queue<mp::Fd>;
template class mp::Queue<std::vector<mp::Connection>>;
