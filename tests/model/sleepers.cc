#include "tests/model/sleepers.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "tests/model/step.h"

namespace mp::model {

Sleepers* Sleepers::current_ = nullptr;

Sleepers::Sleeper& Sleepers::Own() {
  const int actor = ActorNumber();
  if (actor > static_cast<int>(kMostActors)) Fail("too many actors sleep");
  return sleepers_[actor - 1];
}

template <typename Visit>
void Sleepers::ForEachOn(const void* word, const Visit& visit) {
  for (Sleeper& sleeper : sleepers_) {
    for (Place& place : sleeper.places) {
      if (place.word == word && place.turn != kWoken) visit(place);
    }
  }
}

void Sleepers::Enter(const void* word) {
  uint64_t turn = 1;
  ForEachOn(word, [&turn](const Place&) { ++turn; });
  Sleeper& own = Own();
  auto* const place = std::find_if(std::begin(own.places), std::end(own.places),
                                   [](const Place& place) { return place.word == nullptr; });
  if (place == std::end(own.places)) Fail("an actor sleeps on too many words");
  if (place == std::begin(own.places)) Holds(&own, LeaveAtDeath);
  *place = {word, turn};
}

int Sleepers::TakeOut(Sleeper& sleeper) {
  int woken = -1;
  for (size_t i = 0; i < kMostWords; ++i) {
    const Place left = sleeper.places[i];
    sleeper.places[i] = {};
    if (left.word == nullptr) continue;
    if (left.turn == kWoken) {
      woken = static_cast<int>(i);
      continue;
    }
    ForEachOn(left.word, [&left](Place& place) { place.turn -= place.turn > left.turn; });
  }
  return woken;
}

int Sleepers::Leave() {
  Sleeper& own = Own();
  HoldsNoMore(&own);
  return TakeOut(own);
}

void Sleepers::LeaveAtDeath(void* sleeper) { Current().TakeOut(*static_cast<Sleeper*>(sleeper)); }

int Sleepers::Wake(const void* word, int count) {
  if (current_ == nullptr) return 0;
  const auto most = static_cast<uint64_t>(count);
  int woken = 0;
  current_->ForEachOn(word, [&](Place& place) {
    if (place.turn > most) {
      place.turn -= most;
    } else {
      place.turn = kWoken;
      ++woken;
    }
  });
  return woken;
}

bool Sleepers::IsAsleep(int actor) const {
  return Of(actor).places[0].word != nullptr && !IsWoken(actor);
}

bool Sleepers::IsWoken(int actor) const {
  return std::any_of(
      std::begin(Of(actor).places), std::end(Of(actor).places),
      [](const Place& place) { return place.word != nullptr && place.turn == kWoken; });
}

bool Sleepers::IsIn(int actor, const void* word) const {
  return std::any_of(std::begin(Of(actor).places), std::end(Of(actor).places),
                     [word](const Place& place) { return place.word == word; });
}

}  // namespace mp::model
