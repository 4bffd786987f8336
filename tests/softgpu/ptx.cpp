#include "ptx.h"

#include <algorithm>
#include <cstring>

#include "ptx_lexer.h"
#include "runtime.h"

namespace softgpu {
namespace {

std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  std::size_t begin = text.front() == '.' ? 1 : 0;
  for (std::size_t stop; (stop = text.find('.', begin)) != std::string::npos; begin = stop + 1) {
    words.push_back(text.substr(begin, stop - begin));
  }
  words.push_back(text.substr(begin));
  return words;
}

class Parser {
 public:
  explicit Parser(const std::string& text) : tokens_(tokenize_ptx(text)) { module_.locations.resize(1); }

  PtxModule run() {
    while (peek().kind != PtxToken::end) top_level();
    return std::move(module_);
  }

 private:
  // Tokens.
  const PtxToken& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  PtxToken next() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  bool accept(const char* text) {
    if (peek().text != text || peek().kind == PtxToken::string) return false;
    ++at_;
    return true;
  }
  void expect(const char* text) {
    if (!accept(text)) fail(softgpu::text("expected %s, found %s", text, peek().text.c_str()));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DeviceError{cudaErrorInvalidPtx, softgpu::text("PTX line %d: %s", peek().line, what.c_str())};
  }
  std::int64_t integer() {
    const bool minus = accept("-");
    const auto value = static_cast<std::int64_t>(ptx_number(next().text));
    return minus ? -value : value;
  }
  void skip_to(const char* text) {
    while (peek().kind != PtxToken::end && !accept(text)) ++at_;
  }

  // Names of inner scopes hide those of outer ones; they get names of their own.
  void open_scope() { scopes_.emplace_back(); }
  void close_scope() { scopes_.pop_back(); }
  std::string declare(const std::string& name) {
    std::string unique = name;
    if (scopes_.size() > 1) unique += softgpu::text("#%d", ++scope_names_);
    scopes_.back()[name] = unique;
    return unique;
  }
  /// A numbered register (%r5) is declared by its prefix (%r<20>).
  std::string resolve(const std::string& name) const {
    const std::size_t digits = name.find_last_not_of("0123456789") + 1;
    const std::string prefix = name.substr(0, digits);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->find(name); found != scope->end()) return found->second;
      const auto found = scope->find(prefix + "<>");
      if (found != scope->end()) return found->second + name.substr(digits);
    }
    return name;
  }

  void top_level() {
    const PtxToken token = next();
    if (token.text == ".version" || token.text == ".target" || token.text == ".address_size") {
      while (peek().line == token.line && peek().kind != PtxToken::end) ++at_;
    } else if (token.text == ".file") {
      const int index = static_cast<int>(integer());
      module_.files[index] = next().text;
      while (accept(",")) next();
    } else if (token.text == ".section") {
      skip_to("}");
    } else if (token.text == ".visible" || token.text == ".weak" || token.text == ".extern" ||
               token.text == ".common") {
      return;
    } else if (token.text == ".global" || token.text == ".const" || token.text == ".shared") {
      module_.variables.push_back(variable(token.text.substr(1)));
      expect(";");
    } else if (token.text == ".entry" || token.text == ".func") {
      function(token.text == ".entry");
    } else if (token.text == ".alias" || token.text == ".pragma") {
      skip_to(";");
    } else {
      fail("not understood: " + token.text);
    }
  }

  /// .align 4 .b8 name[16] = {...}
  PtxVariable variable(const std::string& space) {
    PtxVariable result;
    result.space = space;
    std::uint32_t element = 0;
    std::uint64_t count = 1;
    while (peek().text.front() == '.') {
      const std::string word = next().text;
      if (word == ".align") {
        result.alignment = static_cast<std::uint32_t>(integer());
      } else if (word == ".v2" || word == ".v4") {
        count = word == ".v2" ? 2 : 4;
      } else if (const std::uint32_t bytes = type_bytes(word.substr(1))) {
        element = bytes;
      } else if (word != ".ptr" && word != ".attribute" && word != ".global" && word != ".shared" && word != ".const") {
        fail("not understood in a declaration: " + word);
      }
    }
    result.alignment = std::max(result.alignment, element);
    result.name = next().text;
    while (accept("[")) {
      count *= peek().text == "]" ? 0 : static_cast<std::uint64_t>(integer());
      expect("]");
    }
    result.bytes = element * count;
    if (accept("=")) initialise(result, element);
    return result;
  }

  void initialise(PtxVariable& variable, std::uint32_t element) {
    const bool list = accept("{");
    std::uint64_t offset = 0;
    do {
      std::uint64_t value = 0;
      if (peek().kind == PtxToken::word) {
        std::string symbol = next().text;
        if (symbol == "generic") {
          expect("(");
          symbol = next().text;
          expect(")");
        }
        variable.addresses.emplace_back(offset, symbol);
      } else {
        value = static_cast<std::uint64_t>(integer());
      }
      variable.initial.resize(offset + element);
      std::memcpy(variable.initial.data() + offset, &value, element);
      offset += element;
    } while (list && accept(","));
    if (list) expect("}");
  }

  std::vector<PtxVariable> parameter_list() {
    std::vector<PtxVariable> result;
    if (!accept("(")) return result;
    while (!accept(")")) {
      if (accept(".reg")) {
        result.push_back(variable("reg"));
      } else {
        expect(".param");
        result.push_back(variable("param"));
      }
      accept(",");
    }
    return result;
  }

  void function(bool is_kernel) {
    PtxFunction result;
    result.is_kernel = is_kernel;
    if (!is_kernel) result.results = parameter_list();
    result.name = next().text;
    result.parameters = parameter_list();
    while (!accept(";") && peek().text != "{") {
      const std::string word = next().text;
      if (word == ".maxntid" || word == ".reqntid") {
        result.maximum_threads = 1;
        do result.maximum_threads *= static_cast<std::uint32_t>(integer());
        while (accept(","));
      }
    }
    function_ = &result;
    if (tokens_[at_ - 1].text != ";") {
      result.is_defined = true;
      location_ = 0;
      open_scope();
      block();
      close_scope();
    }
    if (result.is_defined || !module_.functions.count(result.name)) module_.functions[result.name] = std::move(result);
  }

  void block() {
    expect("{");
    while (!accept("}")) {
      if (peek().text == "{") {
        open_scope();
        block();
        close_scope();
      } else if (peek().text.front() == '.') {
        directive();
      } else if (peek(1).text == ":" && peek().kind == PtxToken::word) {
        label();
      } else {
        instruction();
      }
    }
  }

  void label() {
    const std::string name = next().text;
    expect(":");
    if (peek().text == ".branchtargets") {
      next();
      do function_->branch_targets[name].push_back(next().text);
      while (accept(","));
      expect(";");
      return;
    }
    if (peek().text == ".callprototype") fail("calls through function pointers are not supported");
    function_->labels[name] = function_->body.size();
  }

  void directive() {
    const std::string word = next().text;
    if (word == ".reg") {
      registers();
    } else if (word == ".shared" || word == ".local" || word == ".param" || word == ".global" || word == ".const") {
      PtxVariable made = variable(word.substr(1));
      made.name = declare(made.name);
      auto& list = word == ".global" || word == ".const" ? module_.variables : function_->variables;
      list.push_back(std::move(made));
      expect(";");
    } else if (word == ".loc") {
      location();
    } else if (word == ".pragma") {
      skip_to(";");
    } else {
      fail("not understood: " + word);
    }
  }

  void registers() {
    const std::string type = next().text.substr(1);
    if (type == "v2" || type == "v4") fail("vector registers are not supported");
    do {
      const std::string name = next().text;
      if (accept("<")) {
        integer();
        expect(">");
        const std::string unique = declare(name + "<>");
        // The scope's mark stands where the number will follow: "%r#2." + "5".
        const std::string prefix = unique == name + "<>" ? name : name + unique.substr(name.size() + 2) + ".";
        scopes_.back()[name + "<>"] = prefix;
        function_->registers[prefix] = type;
      } else {
        function_->registers[declare(name)] = type;
      }
    } while (accept(","));
    expect(";");
  }

  /// .loc file line column[, function_name label[+offset], inlined_at file line column]
  void location() {
    PtxLocation result;
    result.file = static_cast<int>(integer());
    result.line = static_cast<int>(integer());
    integer();
    while (accept(",")) {
      if (accept("function_name")) {
        next();
        if (accept("+")) integer();
      } else {
        expect("inlined_at");
        PtxLocation outer;
        outer.file = static_cast<int>(integer());
        outer.line = static_cast<int>(integer());
        integer();
        module_.locations.push_back(outer);
        result.inlined_at = static_cast<std::uint32_t>(module_.locations.size()) - 1;
      }
    }
    if (result.line == 0) return;  // "no line": the one before is the best guess
    module_.locations.push_back(result);
    location_ = static_cast<std::uint32_t>(module_.locations.size()) - 1;
  }

  void instruction() {
    PtxInstruction result;
    result.location = location_;
    if (accept("@")) {
      result.guard_negated = accept("!");
      result.guard = resolve(next().text);
    }
    if (peek().kind != PtxToken::word) fail("expected an instruction, found " + peek().text);
    result.words = split_words(next().text);
    while (!accept(";")) {
      if (peek().kind == PtxToken::end) fail("the text ends within an instruction");
      result.operands.push_back(operand());
      if (accept("|")) {
        PtxOperand pair;
        pair.kind = PtxOperand::vector;
        pair.parts = {result.operands.back(), operand()};
        result.operands.back() = pair;
      }
      accept(",");
    }
    function_->body.push_back(std::move(result));
  }

  PtxOperand operand() {
    PtxOperand result;
    if (accept("{") || accept("(")) {
      const char* const close = tokens_[at_ - 1].text == "{" ? "}" : ")";
      result.kind = PtxOperand::vector;
      while (!accept(close)) {
        result.parts.push_back(operand());
        accept(",");
      }
    } else if (accept("[")) {
      result.kind = PtxOperand::address;
      if (peek().kind == PtxToken::word) result.text = resolve(next().text);
      if (peek().text != "]") {
        accept("+");
        result.value = static_cast<std::uint64_t>(integer());
      }
      expect("]");
    } else if (peek().kind == PtxToken::number || peek().text == "-") {
      const std::string& digits = peek().text == "-" ? peek(1).text : peek().text;
      result.kind = PtxOperand::immediate;
      result.is_double = digits.size() > 2 && (digits[1] == 'd' || digits[1] == 'D');
      result.is_float = result.is_double || (digits.size() > 2 && (digits[1] == 'f' || digits[1] == 'F'));
      result.value = static_cast<std::uint64_t>(integer());
    } else {
      result.negated = accept("!");
      if (peek().kind != PtxToken::word) fail("expected an operand, found " + peek().text);
      result.text = resolve(next().text);
      if (accept("+")) {  // symbol + offset
        result.value = static_cast<std::uint64_t>(integer());
      }
    }
    return result;
  }

  std::vector<PtxToken> tokens_;
  std::size_t at_ = 0;
  PtxModule module_;
  PtxFunction* function_ = nullptr;
  std::uint32_t location_ = 0;
  std::vector<std::map<std::string, std::string>> scopes_;
  int scope_names_ = 0;
};

}  // namespace

bool PtxInstruction::has(const char* word) const { return std::find(words.begin(), words.end(), word) != words.end(); }

std::string PtxInstruction::opcode() const {
  std::string result;
  for (const std::string& word : words) result += (result.empty() ? "" : ".") + word;
  return result;
}

PtxModule parse_ptx(const std::string& text) { return Parser(text).run(); }

std::uint32_t type_bytes(const std::string& type) {
  if (type == "pred" || type == "b8" || type == "u8" || type == "s8") return 1;
  if (type == "b16" || type == "u16" || type == "s16" || type == "f16" || type == "bf16") return 2;
  if (type == "b32" || type == "u32" || type == "s32" || type == "f32" || type == "f16x2" || type == "bf16x2") return 4;
  if (type == "b64" || type == "u64" || type == "s64" || type == "f64") return 8;
  return type == "b128" ? 16 : 0;
}

}  // namespace softgpu
