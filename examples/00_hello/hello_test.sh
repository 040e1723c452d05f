#!/bin/sh
# hello_test.sh BINARY MAIN README: the program prints what its documents say, and the
# README shows the program as it is.

set -eu

output=$("$1")
expected='3 of 4 workers are done; nobody hangs'
if [ "$output" != "$expected" ]; then
  echo "printed \"$output\" instead of \"$expected\""
  exit 1
fi

shown=$(sed -n '/^```cpp$/,/^```$/p' "$3" | sed '1d;/^```$/,$d')
if [ "$shown" != "$(cat "$2")" ]; then
  echo "the README shows another program than $2"
  exit 1
fi
