// `manual` and `completions`: the manual page and what a shell needs to know, made from the table of options that
// --help prints, so that they can't fall behind it. `make install` puts both where the system looks for them.
#include <iostream>
#include <sstream>

#include "search/commands/commands.h"
#include "search/run/version.h"

namespace stagewise {

namespace {

using Options = std::vector<const CLI::Option*>;

std::vector<const CLI::App*> commands_of(const CLI::App& program) {
  return program.get_subcommands([](const CLI::App*) { return true; });
}

Options positionals_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

Options flags_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* option) { return option->nonpositional(); });
}

/// `-h` and `--help`.
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

bool takes_a_value(const CLI::Option& option) { return option.get_items_expected_max() != 0; }

/// With each of `letters` after a backslash.
std::string escaped(const std::string& text, const std::string& letters) {
  std::string escaped;
  for (const char letter : text) {
    if (letters.find(letter) != std::string::npos) escaped += '\\';
    escaped += letter;
  }
  return escaped;
}

/// Between single quotes, in which a shell reads nothing but their end.
std::string in_quotes(const std::string& text) {
  std::string quoted = "'";
  for (const char letter : text) quoted += letter == '\'' ? "'\\''" : std::string(1, letter);
  return quoted + "'";
}

// ---- The manual page, in troff's man macros (man-pages(7)) ----------------------------------------------------------

/// A hyphen is a minus, and no line begins with what troff takes for a request.
std::string in_troff(const std::string& text) {
  std::string line;
  for (const char letter : text) line += letter == '\\' ? "\\e" : letter == '-' ? "\\-" : std::string(1, letter);
  return line.starts_with('.') || line.starts_with('\'') ? "\\&" + line : line;
}

void write_option(const CLI::Option& option) {
  std::cout << ".TP\n";
  if (option.get_positional()) {
    std::cout << ".I " << in_troff(option.get_name(/*positional=*/true));
  } else {
    std::cout << "\\fB" << in_troff(option.get_name(/*positional=*/false, /*all_options=*/true)) << "\\fR";
    if (takes_a_value(option)) std::cout << " \\fI" << in_troff(option.get_type_name()) << "\\fR";
  }
  std::cout << '\n' << in_troff(option.get_description()) << '\n';
  const std::string standard = option.get_default_str();
  if (takes_a_value(option) && !standard.empty() && standard != "[]") {
    std::cout << "(default: " << in_troff(standard) << ")\n";
  }
}

void write_command(const CLI::App& command) {
  std::cout << ".SS " << in_troff(command.get_name()) << "\n.B stagewise " << in_troff(command.get_name())
            << "\n[\\fIoptions\\fR]";
  for (const CLI::Option* option : positionals_of(command)) {
    std::cout << " \\fI" << in_troff(option->get_name(/*positional=*/true)) << "\\fR";
  }
  std::cout << "\n.PP\n" << in_troff(command.get_description()) << ".\n";
  std::istringstream footer(command.get_footer());
  for (std::string line; std::getline(footer, line);) {
    if (!line.empty()) std::cout << in_troff(line) << '\n';
  }
  for (const CLI::Option* option : positionals_of(command)) write_option(*option);
  for (const CLI::Option* option : flags_of(command)) write_option(*option);
}

void write_manual(const CLI::App& program) {
  std::cout << ".TH STAGEWISE 1 \"\" \"" << in_troff(program_version()) << "\"\n"
            << ".SH NAME\nstagewise \\- architecture search that grows residual networks while they train\n"
            << ".SH SYNOPSIS\n.B stagewise\n\\fIcommand\\fR [\\fIoptions\\fR]\n"
            << ".SH DESCRIPTION\n"
            << in_troff(program.get_description()) << '\n'
            << ".SH COMMANDS\n";
  for (const CLI::App* command : commands_of(program)) write_command(*command);
  std::cout << ".SH EXIT STATUS\n"
            << ".TP\n0\nDone.\n.TP\n1\nFailed: no memory, or results that could not be written.\n"
            << ".TP\n2\nA mistake in what was asked or given.\n.TP\n130\nStopped by a signal, and saved.\n";
}

// ---- Completions ----------------------------------------------------------------------------------------------------

/// The commands, or a command's options, with blanks between them.
std::string command_names(const CLI::App& program) {
  std::string names;
  for (const CLI::App* command : commands_of(program)) names += (names.empty() ? "" : " ") + command->get_name();
  return names;
}

std::string option_names(const CLI::App& command) {
  std::string names;
  for (const CLI::Option* option : flags_of(command)) {
    for (const std::string& name : names_of(*option)) names += (names.empty() ? "" : " ") + name;
  }
  return names;
}

void write_bash(const CLI::App& program) {
  std::cout << "# bash: source this file, or keep it in bash-completion's folder.\n"
               "_stagewise() {\n"
               "  local word=${COMP_WORDS[COMP_CWORD]} known=\n"
               "  case ${COMP_WORDS[1]} in\n";
  for (const CLI::App* command : commands_of(program)) {
    std::cout << "    " << command->get_name() << ") known=" << in_quotes(option_names(*command)) << " ;;\n";
  }
  std::cout
      << "  esac\n"
         "  ((COMP_CWORD > 1)) || known="
      << in_quotes(command_names(program) + " " + option_names(program))
      << "\n"
         "  # Nothing of ours: -o default completes files.\n"
         "  [[ COMP_CWORD -gt 1 && $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W \"$known\" -- \"$word\")\n"
         "}\n"
         "complete -o default -F _stagewise stagewise\n";
}

/// `--out[where to]:TEXT:_files`, as _arguments reads it.
std::string zsh_option(const CLI::Option& option, const std::string& name) {
  return in_quotes(name + "[" + escaped(option.get_description(), "[]:\\") + "]" +
                   (takes_a_value(option) ? ":" + escaped(option.get_type_name(), ":\\") + ":_files" : ""));
}

void write_zsh(const CLI::App& program) {
  std::cout << "#compdef stagewise\n"
               "local -a commands=(\n";
  for (const CLI::App* command : commands_of(program)) {
    std::cout << "  " << in_quotes(command->get_name() + ":" + escaped(command->get_description(), ":\\")) << '\n';
  }
  std::cout << ")\n"
               "if ((CURRENT == 2)); then\n"
               "  _describe command commands\n"
               "  return\n"
               "fi\n"
               "shift words\n"
               "((CURRENT--))\n"
               "case $words[1] in\n";
  for (const CLI::App* command : commands_of(program)) {
    std::cout << "  " << command->get_name() << ")\n    _arguments";
    for (const CLI::Option* option : flags_of(*command)) {
      for (const std::string& name : names_of(*option)) std::cout << " \\\n      " << zsh_option(*option, name);
    }
    std::cout << " \\\n      '*:file:_files' ;;\n";
  }
  std::cout << "esac\n";
}

void write_fish(const CLI::App& program) {
  for (const CLI::App* command : commands_of(program)) {
    std::cout << "complete -c stagewise -f -n __fish_use_subcommand -a " << command->get_name() << " -d "
              << in_quotes(command->get_description()) << '\n';
    for (const CLI::Option* option : flags_of(*command)) {
      std::cout << "complete -c stagewise -n '__fish_seen_subcommand_from " << command->get_name() << "'";
      for (const std::string& name : names_of(*option)) {
        std::cout << (name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1));
      }
      std::cout << (takes_a_value(*option) ? " -r" : "") << " -d " << in_quotes(option->get_description()) << '\n';
    }
  }
}

}  // namespace

Command add_manual(CLI::App& program) {
  return {.app = program.add_subcommand("manual", "Print the manual page (for man -l -)"),
          .run = [&program] { write_manual(program); }};
}

Command add_completions(CLI::App& program) {
  CLI::App* command = program.add_subcommand("completions", "Print what completes commands and options in a shell");
  const auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return {.app = command, .run = [&program, shell] {
            if (*shell == "bash") return write_bash(program);
            return *shell == "zsh" ? write_zsh(program) : write_fish(program);
          }};
}

}  // namespace stagewise
