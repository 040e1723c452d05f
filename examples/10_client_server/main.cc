#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "absl/strings/ascii.h"
#include "mp/mp.h"

// The server's part: an answer to each question, until the client is gone.
void Serve(const mp::Fd& questions, const mp::Fd& answers) {
  for (auto question = mp::ReadFrame(questions); question.ok();
       question = mp::ReadFrame(questions)) {
    mp::OrDie(mp::WriteFrame(answers, absl::AsciiStrToUpper(*question)));
  }
}

// The client's: frames keep messages apart, also an empty one, whatever is in them.
void Ask(const mp::Fd& questions, const mp::Fd& answers) {
  for (const std::string_view question : {"hello", "", "two\nlines"}) {
    mp::OrDie(mp::WriteFrame(questions, question));
    std::cout << "answer: \"" << mp::OrDie(mp::ReadFrame(answers)) << "\"\n";
  }
}

// This program once more, with a part and two descriptors.
mp::Popen Start(const std::string& part, const mp::Fd& questions, const mp::Fd& answers) {
  mp::Popen program(
      {"/proc/self/exe", part, std::to_string(questions.get()), std::to_string(answers.get())},
      {.pass_fds = {questions.get(), answers.get()}});
  mp::OrDie(program.Start());
  return program;
}

int main(int argc, char** argv) {
  if (argc == 4) {
    const mp::Fd questions(std::atoi(argv[2]));
    const mp::Fd answers(std::atoi(argv[3]));
    std::string_view(argv[1]) == "serve" ? Serve(questions, answers) : Ask(questions, answers);
    return 0;
  }
  auto [questions_out, questions_in] = mp::OrDie(mp::OsPipe());
  auto [answers_out, answers_in] = mp::OrDie(mp::OsPipe());
  const mp::Popen server = Start("serve", questions_out, answers_in);
  const mp::Popen client = Start("ask", questions_in, answers_out);
  // Each has its own ends; with those of this process open, nobody would learn of an end.
  for (mp::Fd* end : {&questions_out, &questions_in, &answers_out, &answers_in}) end->Close();
  const int asked = client.Wait();
  const int served = server.Wait();
  std::cout << "the client has returned " << asked << ", and the server " << served << "\n";
}
