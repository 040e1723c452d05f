#include <cmath>
#include <iostream>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mp/mp.h"

namespace {

int Square(int x) { return x * x; }

std::string Repeat(const std::string& word, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += word;
  return text;
}

int Scaled(int factor, const mp::RawArray<int>& offsets, int i) { return factor * i + offsets[i]; }

absl::StatusOr<double> Root(double x) {
  if (x < 0) return absl::InvalidArgumentError("there is no root of " + std::to_string(x));
  return std::sqrt(x);
}

template <class Range>
void Print(const std::string& what, const Range& values) {
  std::cout << what << ":";
  for (const auto& value : values) std::cout << " " << value;
  std::cout << "\n";
}

}  // namespace

int main() {
  mp::Pool pool(4);
  const std::vector<int> numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

  // with Pool(4) as pool: pool.map(square, numbers)
  Print("Map", mp::OrDie(pool.Map(&Square, numbers)));

  // pool.starmap(repeat, [("a", 3), ("bc", 2)])
  const std::vector<std::tuple<std::string, int>> words = {{"a", 3}, {"bc", 2}};
  Print("Starmap", mp::OrDie(pool.Starmap(&Repeat, words)));

  // pool.map(partial(scaled, 10, offsets), [0, 1, 2]): what is bound is sent once to each worker,
  // and an array in shared memory not at all: its handle is.
  const mp::RawArray<int> offsets({7, 8, 9});
  Print("BindFront",
        mp::OrDie(pool.Map(mp::BindFront(&Scaled, 10, offsets), std::vector{0, 1, 2})));

  // for root in pool.imap(root, [4.0, -1.0, 9.0]): one that fails keeps no other back.
  for (const absl::StatusOr<double>& root : pool.Imap(&Root, std::vector{4.0, -1.0, 9.0})) {
    if (root.ok()) {
      std::cout << "Imap: " << *root << "\n";
    } else {
      std::cout << "Imap: " << root.status().message() << "\n";
    }
  }

  // sum(pool.imap_unordered(square, range(1000), chunksize=50)), in whatever order they come
  std::vector<int> range(1000);
  std::iota(range.begin(), range.end(), 0);
  int sum = 0;
  mp::PoolResults<int> squares = pool.ImapUnordered(&Square, range, 50);
  while (!squares.ended()) sum += mp::OrDie(squares.Next());
  std::cout << "ImapUnordered: " << sum << "\n";

  // pool.apply(repeat, ("x", 5))
  std::cout << "Apply: " << mp::OrDie(pool.Apply(&Repeat, "x", 5)) << "\n";
}
