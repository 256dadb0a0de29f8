// What every FileEnv must do; and what only the POSIX one can show.
#include "base/file_env.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/fault_file_env.h"
#include "base/temp_dir.h"
#include "base/text.h"

namespace quorate {
namespace {

using Strings = std::vector<std::string>;

template <class Function>
void ForEachEnv(Function function) {
  SECTION("posix") {
    TempDir dir;
    function(PosixFileEnv(), dir.path());
  }
  SECTION("fault") {
    FaultFileEnv env;
    REQUIRE(env.MakeDirs("/data").ok());
    function(&env, std::string("/data"));
  }
}

absl::Status Write(File* file, uint64_t offset, std::string_view data) {
  return file->WriteAt(offset, std::span(&data, 1));
}

std::string Content(FileEnv* env, const std::string& path) {
  const auto content = ReadFileToString(env, path);
  INFO(content.status().ToString());
  REQUIRE(content.ok());
  return *content;
}

std::unique_ptr<File> CreateFile(FileEnv* env, const std::string& path) {
  auto file = env->Create(path, WriteMode::kBuffered);
  INFO(file.status().ToString());
  REQUIRE(file.ok());
  REQUIRE((*file)->path() == path);
  return std::move(*file);
}

TEST_CASE("Pieces are written back to back and read at any offset") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    const auto file = CreateFile(env, dir + "/a");
    const std::string_view pieces[] = {"abc", "", "defg", "h"};
    REQUIRE(file->WriteAt(2, pieces).ok());
    REQUIRE(*file->Size() == 10);
    char buffer[20];
    REQUIRE(*file->ReadAt(4, 3, buffer) == 3);
    REQUIRE(std::string_view(buffer, 3) == "cde");
    REQUIRE(*file->ReadAt(8, 20, buffer) == 2);
    REQUIRE(*file->ReadAt(10, 20, buffer) == 0);
    REQUIRE(*file->ReadAt(1000, 20, buffer) == 0);
    REQUIRE(Content(env, dir + "/a") == std::string("\0\0abcdefgh", 10));
    REQUIRE(file->WriteAt(0, {}).ok());
    REQUIRE(file->Sync().ok());
  });
}

TEST_CASE("More pieces than one system call takes arrive whole") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    Strings texts;
    std::string want;
    for (int i = 0; i < 1000; ++i) {
      texts.push_back(i % 7 == 0 ? "" : StrCat("piece ", i, ";"));
      want += texts.back();
    }
    const std::vector<std::string_view> pieces(texts.begin(), texts.end());
    const auto file = CreateFile(env, dir + "/a");
    REQUIRE(file->WriteAt(0, pieces).ok());
    REQUIRE(Content(env, dir + "/a") == want);
  });
}

TEST_CASE("Files grow by zeros and shrink") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    const auto file = CreateFile(env, dir + "/a");
    REQUIRE(Write(file.get(), 0, "abc").ok());
    REQUIRE(file->Preallocate(6).ok());
    REQUIRE(Content(env, dir + "/a") == std::string("abc\0\0\0", 6));
    REQUIRE(file->Preallocate(2).ok());
    REQUIRE(*file->Size() == 6);
    REQUIRE(file->Truncate(2).ok());
    REQUIRE(file->Truncate(4).ok());
    REQUIRE(Content(env, dir + "/a") == std::string("ab\0\0", 4));
  });
}

TEST_CASE("Create empties what exists, Open keeps it") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    const std::string path = dir + "/a";
    REQUIRE(Write(CreateFile(env, path).get(), 0, "old").ok());
    const auto opened = env->Open(path, WriteMode::kDataSync);
    REQUIRE(opened.ok());
    REQUIRE(Write(opened->get(), 3, "er").ok());
    REQUIRE(Content(env, path) == "older");
    CreateFile(env, path);
    REQUIRE(Content(env, path).empty());
  });
}

TEST_CASE("What is missing is kNotFound with operation and path") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    const std::string path = dir + "/none";
    const absl::Status status = env->Open(path, WriteMode::kBuffered).status();
    REQUIRE(absl::IsNotFound(status));
    REQUIRE(status.message() == StrCat("open ", path, ": No such file or directory"));
    REQUIRE(absl::IsNotFound(env->Remove(path)));
    REQUIRE(absl::IsNotFound(env->Rename(path, dir + "/x")));
    REQUIRE(absl::IsNotFound(env->List(path).status()));
    REQUIRE(absl::IsNotFound(env->SyncDir(path)));
    REQUIRE(absl::IsNotFound(env->Create(path + "/x", WriteMode::kBuffered).status()));
    REQUIRE(absl::IsNotFound(ReadFileToString(env, path).status()));
    REQUIRE_FALSE(env->Exists(path));
  });
}

TEST_CASE("Folders are made with those above, listed in order and removed when empty") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    REQUIRE(env->MakeDirs(dir + "/member/wal").ok());
    REQUIRE(env->MakeDirs(dir + "/member/wal/").ok());
    for (const char* name : {"c", "a", "b"}) CreateFile(env, dir + "/member/wal/" + name);
    REQUIRE(*env->List(dir + "/member/wal") == Strings{"a", "b", "c"});
    REQUIRE(*env->List(dir) == Strings{"member"});
    REQUIRE(env->Exists(dir + "/member"));
    REQUIRE_FALSE(env->MakeDirs(dir + "/member/wal/a/x").ok());
    REQUIRE(absl::IsFailedPrecondition(env->Remove(dir + "/member/wal")));
    for (const char* name : {"c", "a", "b"}) {
      REQUIRE(env->Remove(dir + "/member/wal/" + name).ok());
    }
    REQUIRE(env->Remove(dir + "/member/wal").ok());
    REQUIRE(env->List(dir + "/member")->empty());
  });
}

TEST_CASE("A rename replaces its target") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    REQUIRE(Write(CreateFile(env, dir + "/new").get(), 0, "new").ok());
    REQUIRE(Write(CreateFile(env, dir + "/old").get(), 0, "old").ok());
    REQUIRE(env->Rename(dir + "/new", dir + "/old").ok());
    REQUIRE(*env->List(dir) == Strings{"old"});
    REQUIRE(Content(env, dir + "/old") == "new");
    REQUIRE(env->MakeDirs(dir + "/x/y").ok());
    REQUIRE(env->Rename(dir + "/old", dir + "/x/y/moved").ok());
    REQUIRE(env->Rename(dir + "/x", dir + "/z").ok());
    REQUIRE(Content(env, dir + "/z/y/moved") == "new");
    REQUIRE(absl::IsInvalidArgument(env->Rename(dir + "/z", dir + "/z/y/z")));
    REQUIRE(env->SyncDir(dir).ok());
  });
}

TEST_CASE("A lock is exclusive until it goes") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    const std::string path = dir + "/lock";
    {
      const auto lock = env->Lock(path);
      REQUIRE(lock.ok());
      const absl::Status second = env->Lock(path).status();
      REQUIRE(absl::IsUnavailable(second));
      REQUIRE_THAT(std::string(second.message()), Catch::StartsWith("lock " + path + ": held by"));
    }
    REQUIRE(env->Lock(path).ok());
  });
}

TEST_CASE("A file is replaced as a whole") {
  ForEachEnv([](FileEnv* env, const std::string& dir) {
    const std::string path = dir + "/state";
    REQUIRE(WriteFileAtomically(env, path, "one").ok());
    REQUIRE(WriteFileAtomically(env, path, std::string(200'000, 'x')).ok());
    REQUIRE(Content(env, path) == std::string(200'000, 'x'));
    REQUIRE(*env->List(dir) == Strings{"state"});
    REQUIRE(absl::IsNotFound(WriteFileAtomically(env, dir + "/none/state", "x")));
  });
}

TEST_CASE("The folder of a path") {
  REQUIRE(FolderOf("/a/b") == "/a");
  REQUIRE(FolderOf("/a") == "/");
  REQUIRE(FolderOf("a") == ".");
  REQUIRE(FolderOf("a/b/c") == "a/b");
}

TEST_CASE("posix: a full disk is kResourceExhausted in the system's words") {
  const auto file = PosixFileEnv()->Open("/dev/full", WriteMode::kBuffered);
  REQUIRE(file.ok());
  const absl::Status status = Write(file->get(), 0, "x");
  REQUIRE(absl::IsResourceExhausted(status));
  REQUIRE(status.message() == "write /dev/full: No space left on device");
}

TEST_CASE("posix: what only may be read can be opened, and then not written") {
  const auto file = PosixFileEnv()->Open("/proc/version", WriteMode::kBuffered);
  REQUIRE(file.ok());
  REQUIRE_FALSE(Write(file->get(), 0, "x").ok());
  REQUIRE_THAT(Content(PosixFileEnv(), "/proc/version"), Catch::Contains("Linux"));
}

TEST_CASE("posix: preallocated bytes take room on the disk, names and folders are private") {
  TempDir dir;
  const auto file = CreateFile(PosixFileEnv(), dir.path() + "/a");
  REQUIRE(file->Preallocate(1 << 20).ok());
  struct stat info;
  REQUIRE(::stat(file->path().c_str(), &info) == 0);
  REQUIRE(info.st_size == 1 << 20);
  REQUIRE(info.st_blocks * 512 >= 1 << 20);
  REQUIRE((info.st_mode & 0777) == 0600);
  REQUIRE(PosixFileEnv()->MakeDirs(dir.path() + "/d").ok());
  REQUIRE(::stat((dir.path() + "/d").c_str(), &info) == 0);
  REQUIRE((info.st_mode & 0777) == 0700);
}

TEST_CASE("posix: a lock ends with the process that held it") {
  TempDir dir;
  const std::string path = dir.path() + "/lock";
  int ready[2];
  int finish[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(finish) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = PosixFileEnv()->Lock(path);
    char byte = lock.ok() ? 'y' : 'n';
    static_cast<void>(!::write(ready[1], &byte, 1));
    static_cast<void>(!::read(finish[0], &byte, 1));
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  REQUIRE(byte == 'y');
  REQUIRE(absl::IsUnavailable(PosixFileEnv()->Lock(path).status()));
  REQUIRE(::write(finish[1], &byte, 1) == 1);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(PosixFileEnv()->Lock(path).ok());
  for (const int fd : {ready[0], ready[1], finish[0], finish[1]}) ::close(fd);
}

}  // namespace
}  // namespace quorate
