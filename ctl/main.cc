// quoratectl: etcdctl's commands, flags, environment and output. Works with any etcd.
#include <cstdio>

#include "ctl/command_line.h"

int main(int argc, char** argv) {
  const int code = quorate::ctl::RunCommandLine({argv + 1, argv + argc});
  std::fflush(stdout);
  return code;
}
