#include "base/options.h"

#include <catch2/catch.hpp>

#include "base/edit_distance.h"
#include "base/random.h"
#include "base/test_seed.h"

namespace quorate {
namespace {

using Catch::Contains;

OptionValues Example() {
  return OptionValues({
      {.name = "name", .default_text = "default", .help = "A name.", .group = "Member"},
      {.name = "snapshot-count",
       .type = OptionSpec::Type::kUint,
       .default_text = "10000",
       .help = "Entries between snapshots.",
       .group = "Member",
       .min = 1,
       .max = 1'000'000},
      {.name = "heartbeat-interval",
       .type = OptionSpec::Type::kDuration,
       .default_text = "100ms",
       .help = "Between heartbeats.",
       .group = "Clustering",
       .min = 1'000'000},
      {.name = "backend",
       .type = OptionSpec::Type::kChoice,
       .default_text = "lmdb",
       .help = "Where values are stored.",
       .group = "Member",
       .choices = {"memory", "lmdb", "rocksdb"}},
      {.name = "pre-vote",
       .type = OptionSpec::Type::kBool,
       .default_text = "true",
       .help = "Ask first.",
       .group = "Clustering"},
      {.name = "quota",
       .type = OptionSpec::Type::kBytes,
       .default_text = "2GiB",
       .help = "Limit.",
       .group = "Member"},
      {.name = "urls",
       .type = OptionSpec::Type::kStringList,
       .default_text = "a,b",
       .help = "Addresses.",
       .group = "Clustering"},
      {.name = "offset",
       .type = OptionSpec::Type::kInt,
       .default_text = "-3",
       .help = "Shift.",
       .group = "Member",
       .hidden = true},
  });
}

std::string FlagError(const std::vector<std::string>& args) {
  OptionValues options = Example();
  const auto words = options.ParseFlags(args);
  REQUIRE_FALSE(words.ok());
  REQUIRE(absl::IsInvalidArgument(words.status()));
  return std::string(words.status().message());
}

TEST_CASE("Defaults hold until something is set") {
  const OptionValues options = Example();
  REQUIRE(options.GetString("name") == "default");
  REQUIRE(options.GetInt("snapshot-count") == 10'000);
  REQUIRE(options.GetInt("heartbeat-interval") == 100'000'000);
  REQUIRE(options.GetInt("quota") == int64_t{2} << 30);
  REQUIRE(options.GetInt("offset") == -3);
  REQUIRE(options.GetBool("pre-vote"));
  REQUIRE(options.GetList("urls") == std::vector<std::string>{"a", "b"});
  REQUIRE(options.Source("name") == OptionSource::kDefault);
  REQUIRE(options.Text("quota") == "2GiB");
}

TEST_CASE("Flags are written as Go programs take them") {
  OptionValues options = Example();
  const auto words = options.ParseFlags({"first", "--name=n1", "-snapshot-count", "0x10",
                                         "--pre-vote=false", "second", "--backend", "memory",
                                         "--offset", "-7", "--urls=", "--", "--name=ignored"});
  REQUIRE(words.ok());
  REQUIRE(*words == std::vector<std::string>{"first", "second", "--name=ignored"});
  REQUIRE(options.GetString("name") == "n1");
  REQUIRE(options.GetInt("snapshot-count") == 16);
  REQUIRE_FALSE(options.GetBool("pre-vote"));
  REQUIRE(options.GetString("backend") == "memory");
  REQUIRE(options.GetInt("offset") == -7);
  REQUIRE(options.GetList("urls").empty());
  REQUIRE(options.Source("name") == OptionSource::kFlag);
  REQUIRE(options.Source("quota") == OptionSource::kDefault);
}

TEST_CASE("A bare boolean flag means true and takes no word after it") {
  OptionValues options = Example();
  REQUIRE(options.ParseFlags({"--pre-vote=f"}).ok());
  const auto words = options.ParseFlags({"--pre-vote", "false"});
  REQUIRE(words.ok());
  REQUIRE(*words == std::vector<std::string>{"false"});
  REQUIRE(options.GetBool("pre-vote"));
}

TEST_CASE("The last of repeated flags wins, values may hold an equals sign") {
  OptionValues options = Example();
  REQUIRE(options.ParseFlags({"--name=a", "--name", "b=c", "--name=d=e"}).ok());
  REQUIRE(options.GetString("name") == "d=e");
}

TEST_CASE("Wrong flags are answered with the flag and the way out") {
  REQUIRE(FlagError({"--snapshot-cont=5"}) ==
          "unknown flag --snapshot-cont; did you mean --snapshot-count?");
  REQUIRE(FlagError({"-snapshot"}) == "unknown flag -snapshot; did you mean --snapshot-count?");
  REQUIRE(FlagError({"--zzzzzzzz"}) == "unknown flag --zzzzzzzz; --help lists the known ones");
  REQUIRE(FlagError({"--name"}) == "--name: needs a value: --name=VALUE");
  REQUIRE(FlagError({"--backend=bbolt"}) ==
          "--backend: unknown value \"bbolt\"; known: memory, lmdb, rocksdb");
  REQUIRE(FlagError({"--snapshot-count=0"}) ==
          "--snapshot-count: invalid value \"0\": at least 1 is needed");
  REQUIRE(FlagError({"--snapshot-count=1000001"}) ==
          "--snapshot-count: invalid value \"1000001\": at most 1000000 is possible");
  REQUIRE(FlagError({"--snapshot-count=-1"}) ==
          "--snapshot-count: invalid value \"-1\": at least 1 is needed");
  REQUIRE(FlagError({"--heartbeat-interval=1us"}) ==
          "--heartbeat-interval: invalid value \"1us\": at least 1ms is needed");
  REQUIRE_THAT(FlagError({"--heartbeat-interval=100"}), Contains("missing unit"));
  REQUIRE_THAT(FlagError({"--snapshot-count=12x"}), Contains("whole number"));
  REQUIRE_THAT(FlagError({"--snapshot-count="}), Contains("whole number"));
  REQUIRE_THAT(FlagError({"--snapshot-count=99999999999999999999"}), Contains("64 bits"));
  REQUIRE_THAT(FlagError({"--pre-vote=yes"}), Contains("known: true, false"));
  REQUIRE_THAT(FlagError({"--=x"}), Contains("unknown flag --"));
}

TEST_CASE("Set heads its errors with the place and leaves the value alone") {
  OptionValues options = Example();
  const absl::Status status =
      options.Set("snapshot-count", "many", OptionSource::kFile, "quorate.yml:12");
  REQUIRE(status.message() == "quorate.yml:12: invalid value \"many\": expected a whole number");
  REQUIRE(options.GetInt("snapshot-count") == 10'000);
  REQUIRE(options.Source("snapshot-count") == OptionSource::kDefault);
  REQUIRE(
      options.Set("snapshot-count", "7", OptionSource::kEnvironment, "ETCD_SNAPSHOT_COUNT").ok());
  REQUIRE(options.Source("snapshot-count") == OptionSource::kEnvironment);
  REQUIRE(options.Set("nam", "x", OptionSource::kFile, "f.yml:1").message() ==
          "f.yml:1: unknown option \"nam\"; did you mean name?");
}

TEST_CASE("The help text names every flag, its default and choices, and keeps to 100 columns") {
  std::string long_help;
  for (int i = 0; i < 50; ++i) long_help += "word ";
  OptionValues options({
      {.name = "a", .default_text = "", .help = long_help, .group = "One"},
      {.name = "a-flag-with-a-name-that-is-much-too-long-for-the-column",
       .default_text = "x",
       .help = "Short.",
       .group = "Two"},
      {.name = "old", .default_text = "", .help = "Old.", .group = "One", .no_effect = "gone"},
  });
  for (const std::string& text : {options.HelpText(), Example().HelpText()}) {
    size_t width = 0;
    for (const char c : text) {
      width = c == '\n' ? 0 : width + 1;
      REQUIRE(width <= 100);
    }
  }
  REQUIRE(Example().HelpText() == R"(Member:
  --name STRING                  A name. (default "default")
  --snapshot-count UINT          Entries between snapshots. (default "10000")
  --backend NAME                 Where values are stored. (one of: memory, lmdb, rocksdb; default
                                 "lmdb")
  --quota BYTES                  Limit. (default "2GiB")

Clustering:
  --heartbeat-interval DURATION  Between heartbeats. (default "100ms")
  --pre-vote                     Ask first. (default true)
  --urls LIST                    Addresses. (default "a,b")
)");
  REQUIRE_THAT(options.HelpText(), Contains("Old. (no effect here: gone)"));
}

TEST_CASE("Durations are read as Go reads them") {
  const std::vector<std::pair<std::string, int64_t>> cases = {
      {"0", 0},
      {"-0", 0},
      {"0s", 0},
      {"5s", 5'000'000'000},
      {"+5s", 5'000'000'000},
      {"-5s", -5'000'000'000},
      {"1478s", 1'478'000'000'000},
      {"5.0s", 5'000'000'000},
      {"5.6s", 5'600'000'000},
      {".5s", 500'000'000},
      {"5.s", 5'000'000'000},
      {"1.004s", 1'004'000'000},
      {"100.00100s", 100'001'000'000},
      {"10ns", 10},
      {"11us", 11'000},
      {"12\u00b5s", 12'000},
      {"12\u03bcs", 12'000},
      {"13ms", 13'000'000},
      {"14s", 14'000'000'000},
      {"15m", 900'000'000'000},
      {"16h", 57'600'000'000'000},
      {"3h30m", 12'600'000'000'000},
      {"10.5s4m", 250'500'000'000},
      {"-2m3.4s", -123'400'000'000},
      {"1h2m3s4ms5us6ns", 3'723'004'005'006},
      {"39h9m14.425s", 140'954'425'000'000},
      {"52763797000ns", 52'763'797'000},
      {"0.3333333333333333333h", 1'200'000'000'000},
      {"9223372036854775807ns", INT64_MAX},
      {"-9223372036854775808ns", INT64_MIN},
      {"9223372036854775.807us", INT64_MAX},
      {"-9223372036854775.808us", INT64_MIN},
      {"0.000000000000000001s", 0},
  };
  for (const auto& [text, want] : cases) {
    INFO(text);
    const auto got = ParseGoDuration(text);
    REQUIRE(got.ok());
    REQUIRE(*got == want);
  }
  for (const std::string text : {"",
                                 "3",
                                 "-",
                                 "s",
                                 ".",
                                 "-.",
                                 ".s",
                                 "+.s",
                                 "1d",
                                 "10 s",
                                 " 10s",
                                 "10s ",
                                 "1.2.3s",
                                 "s10",
                                 "9223372036854775808ns",
                                 "-9223372036854775809ns",
                                 "3000000h",
                                 "99999999999999999999s",
                                 "1\xb5s",
                                 "\x85\x85"}) {
    INFO(text);
    REQUIRE(absl::IsInvalidArgument(ParseGoDuration(text).status()));
  }
}

TEST_CASE("Durations are printed as Go prints them") {
  const std::vector<std::pair<int64_t, std::string>> cases = {
      {0, "0s"},
      {1, "1ns"},
      {1'100, "1.1\u00b5s"},
      {300'000, "300\u00b5s"},
      {2'200'000, "2.2ms"},
      {100'000'000, "100ms"},
      {1'500'000'000, "1.5s"},
      {3'300'000'000, "3.3s"},
      {60'000'000'000, "1m0s"},
      {90'000'000'000, "1m30s"},
      {4 * 60'000'000'000 + 5'001'000'000, "4m5.001s"},
      {3'600'000'000'000, "1h0m0s"},
      {5 * 3'600'000'000'000 + 6 * 60'000'000'000 + 7'001'000'000, "5h6m7.001s"},
      {8 * 60'000'000'000 + 1, "8m0.000000001s"},
      {-1'500'000'000, "-1.5s"},
      {INT64_MAX, "2562047h47m16.854775807s"},
      {INT64_MIN, "-2562047h47m16.854775808s"},
  };
  for (const auto& [ns, want] : cases) REQUIRE(FormatGoDuration(ns) == want);
}

TEST_CASE("Any duration reads back as it was printed") {
  Random random(TestSeed());
  for (int i = 0; i < 10'000; ++i) {
    // All magnitudes alike: most uniform draws would be centuries.
    const auto ns = static_cast<int64_t>(random.Next()) >> random.Below(63);
    const auto parsed = ParseGoDuration(FormatGoDuration(ns));
    REQUIRE(parsed.ok());
    // Go cuts the decimals of a part through a double: exact below 2^53 of the smallest digit.
    REQUIRE(std::abs(*parsed - ns) <= 1);
  }
}

TEST_CASE("Sizes take binary and decimal units") {
  REQUIRE(*ParseByteSize("0") == 0);
  REQUIRE(*ParseByteSize("4096") == 4096);
  REQUIRE(*ParseByteSize("256B") == 256);
  REQUIRE(*ParseByteSize("64KiB") == 65536);
  REQUIRE(*ParseByteSize("3MiB") == 3 << 20);
  REQUIRE(*ParseByteSize("2GB") == 2'000'000'000);
  for (const char* text :
       {"", "KiB", "-1", "1.5GiB", "1 KiB", "1kib", "1KiBx", "9223372036854775808", "9000000TiB"}) {
    INFO(text);
    REQUIRE(absl::IsInvalidArgument(ParseByteSize(text).status()));
  }
  REQUIRE_THAT(std::string(ParseByteSize("1K").status().message()), Contains("known: B, KiB"));
}

TEST_CASE("The nearest names come first") {
  REQUIRE(EditDistance("", "abc") == 3);
  REQUIRE(EditDistance("kitten", "sitting") == 3);
  REQUIRE(EditDistance("same", "same") == 0);
  const std::vector<std::string_view> known = {"listen-peer-urls", "listen-client-urls", "name"};
  REQUIRE(ClosestNames("listen-client-url", known) ==
          std::vector<std::string_view>{"listen-client-urls"});
  REQUIRE(ClosestNames("listen-pear-url", known) ==
          std::vector<std::string_view>{"listen-peer-urls", "listen-client-urls"});
  REQUIRE(ClosestNames("listen", known).size() == 2);
  REQUIRE(ClosestNames("quota", known).empty());
}

}  // namespace
}  // namespace quorate
