// Asking the person at the terminal, and reading standard input.
#pragma once

#include <optional>
#include <string>

namespace quorate::ctl {

// Writes the prompt, reads a line without showing it, ends the prompt's line. Blanks around it go.
// Where standard input is no terminal, the line is read as it comes; at its end the answer is
// empty.
std::string AskPassword(const std::string& prompt);

// The first word of the next line of standard input.
std::string ReadWord();

// The next line, without its end; nothing when there is none. Reads byte by byte, so that what
// stands behind the line is there for the next reader.
std::optional<std::string> ReadLine();

// All that is left of standard input.
std::string ReadStandardInput();

}  // namespace quorate::ctl
