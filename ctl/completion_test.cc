// What may follow on a command line, and which command its words name.
#include "ctl/completion.h"

#include <catch2/catch.hpp>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/global_flags.h"
#include "ctl/help.h"

namespace quorate::ctl {
namespace {

std::string Texts(const std::vector<std::string>& words) {
  std::vector<std::string> texts;
  for (const Completion& completion : Complete(words)) texts.push_back(completion.text);
  return StrJoin(texts, " ");
}

TEST_CASE("commands complete word by word") {
  CHECK(Texts({"mem"}) == "member");
  CHECK(Texts({"member", ""}) == "list add remove update promote");
  CHECK(Texts({"--endpoints", "host:1", "member", "re"}) == "remove");
  CHECK(Texts({"--hex", "lease", "gr"}) == "grant");
  CHECK(Texts({"help", "user", "gr"}) == "grant-role");
  CHECK(Texts({"completion", ""}) == "bash fish zsh");
  CHECK(Texts({"role", "grant-permission", "app", "re"}) == "read readwrite");
  CHECK(Texts({"role", "grant-permission", "--prefix", "app", "w"}) == "write");
  CHECK(Texts({"nonsense", ""}).empty());
  CHECK(Texts({"get", "k"}).empty());
  CHECK(Texts({}).empty());
}

TEST_CASE("flags complete, those of the command before the global ones") {
  CHECK(Texts({"get", "--print"}) == "--print-value-only");
  CHECK(Texts({"get", "--m"}) ==
        "--max-create-rev --max-mod-rev --min-create-rev --min-mod-rev --max-recv-bytes "
        "--max-request-bytes");
  CHECK(Texts({"member", "add", "--l"}) == "--learner");
}

TEST_CASE("values of flags complete where they are known") {
  CHECK(Texts({"get", "-w", ""}) == "fields json protobuf simple table");
  CHECK(Texts({"get", "--write-out", "ta"}) == "table");
  CHECK(Texts({"get", "--order=D"}) == "--order=DESCEND");
  CHECK(Texts({"get", "--rev", ""}).empty());
}

TEST_CASE("words name a command when they begin no other") {
  CHECK(FindCommand({"mem", "li"}).command->name == "member list");
  CHECK(FindCommand({"get", "key"}).command->name == "get");
  CHECK(FindCommand({"get", "key"}).words == 1);
  CHECK(FindCommand({"l", "x"}).command == nullptr);   // lease, lock
  CHECK(FindCommand({"de", "x"}).command == nullptr);  // del, defrag
  CHECK(FindCommand({"member"}).group == "member");
  CHECK(FindCommand({"member", "fly"}).command == nullptr);
  CHECK(FindCommand({""}).command == nullptr);
  CHECK(FindCommand({}).command == nullptr);
}

TEST_CASE("every command explains itself, in lines that fit") {
  for (const CommandGroup& group : CommandGroups()) {
    for (const Command& command : group.commands) {
      INFO(command.name);
      const std::string help = CommandHelp(command);
      CHECK(help.find(command.help) == 0);
      CHECK(help.find(StrCat("quoratectl ", command.name)) != std::string::npos);
      for (const OptionSpec& flag : command.flags) {
        CHECK(help.find(StrCat("--", flag.name)) != std::string::npos);
        CHECK_FALSE(flag.help.empty());
      }
      for (const std::string_view line : StrSplit(help, '\n')) {
        INFO(line);
        CHECK(line.size() <= 100);
      }
    }
  }
}

TEST_CASE("--debug does not show secrets") {
  OptionValues values(GlobalFlags());
  REQUIRE(values
              .ParseFlags({"--user=root:secret1", "--password=secret2", "--auth-jwt-token=secret3",
                           "--endpoints=a:1"})
              .ok());
  const std::string text = DebugText(values);
  CHECK(text.find("secret") == std::string::npos);
  CHECK(text.find("ETCDCTL_USER=root\n") != std::string::npos);
  CHECK(text.find("ETCDCTL_ENDPOINTS=[a:1]\n") != std::string::npos);
}

}  // namespace
}  // namespace quorate::ctl
