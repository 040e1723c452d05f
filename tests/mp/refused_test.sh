#!/bin/bash
#
# Of each type in refused.cc the compiler says its name and what to write instead.

set -u
said=$1
failed=0

# says TYPE TEXT: some line has the type among the template arguments, and some the text.
says() {
  grep -qF -- "$1" "$said" && grep -qF -- "$2" "$said" && return
  echo "of $1 nothing says: $2"
  failed=1
}

says 'Refused<std::basic_string_view<char>' 'send a std::string instead of a string_view'
says 'Refused<std::span<int' 'a std::vector instead of a span'
says 'Refused<int' 'a pointer means nothing to who receives it'
says 'Refused<std::reference_wrapper<int>' 'a std::reference_wrapper cannot be sent: send the value'
says 'Refused<std::function<void' 'a function, lambda or std::function cannot be a part of a message'
says 'Refused<std::atomic<int>' 'an atomic cannot be sent: send what it holds'
says 'Refused<std::mutex>' 'a mutex cannot be sent: send an mp::Lock'
says 'Sendable<Private>' 'it is not known how to send this type: give it a'
says 'Travels<Line' 'a Connection travels only through a Connection'
says 'Travels<mp::Fd' 'a Connection travels only through a Connection'
says 'Travels<mp::Connection' 'a Connection travels only through a Connection'

((failed == 0)) || cat "$said"
exit $failed
