// A new folder that is removed with all it holds when the object goes. For tests and tools.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/check.h"

namespace quorate {

class TempDir {
 public:
  // Under $TMPDIR or /tmp.
  TempDir() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/quorate.XXXXXX";
    QR_CHECK_MSG(::mkdtemp(path_.data()) != nullptr, path_);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace quorate
