#include "utl/invocation.h"

#include <cstdio>

#include "base/text.h"
#include "ctl/text_forms.h"

namespace quorate::utl {

void Out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int Fail(int code, std::string_view text) {
  std::fflush(stdout);
  std::fprintf(stderr, "Error: %.*s\n", static_cast<int>(text.size()), text.data());
  return code;
}

int Fail(const absl::Status& status) { return Fail(kExitError, ToStd(status.message())); }

Figure NumberFigure(std::string heading, std::string field, std::string json_name, int64_t value) {
  const std::string text = StrCat(value);
  return {std::move(heading), std::move(field), text, std::move(json_name), text, text};
}

int Print(const Invocation& invocation, const std::vector<Figure>& figures) {
  std::vector<std::string> headings, shown, json;
  std::string fields;
  for (const Figure& figure : figures) {
    headings.push_back(figure.heading);
    shown.push_back(figure.shown);
    json.push_back(StrCat("\"", figure.json_name, "\":", figure.json));
    StrAppend(&fields, "\"", figure.field, "\" : ", figure.field_text, "\n");
  }
  switch (invocation.format) {
    case Format::kSimple:
      Out(StrCat(StrJoin(shown, ", "), "\n"));
      return kExitOk;
    case Format::kJson:
      Out(StrCat("{", StrJoin(json, ","), "}\n"));
      return kExitOk;
    case Format::kFields:
      Out(fields);
      return kExitOk;
    case Format::kTable:
      Out(ctl::BoxTable(headings, {shown}));
      return kExitOk;
    case Format::kProtobuf:
      break;
  }
  return Fail(kExitBadFeature, "protobuf not supported as output format");
}

}  // namespace quorate::utl
