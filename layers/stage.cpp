#include "layers/stage.h"

#include <algorithm>

#include "layers/initialise.h"
#include "tensor/enum_names.h"

namespace stagewise {
namespace {

// Copies all tensors of `from` to `to`; false, and nothing copied, where their names or shapes differ.
bool copy_block(const ResidualBlock& from, const ResidualBlock& to) {
  const auto tensors = [](const ResidualBlock& block) {
    return tensors_of([&](const Visitor& visitor) { block.visit("", visitor); });
  };
  const std::map<std::string, Tensor> source = tensors(from), target = tensors(to);
  const auto alike = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.shape() == b.second.shape();
  };
  if (!std::equal(source.begin(), source.end(), target.begin(), target.end(), alike)) return false;
  for (const auto& [name, tensor] : source) copy_values(tensor, target.at(name));
  return true;
}

}  // namespace

std::string name_of(BlockInitialiser initialiser) {
  switch (initialiser) {
    case BlockInitialiser::zero_gamma: return "zero-gamma";
    case BlockInitialiser::he: return "he";
    case BlockInitialiser::copy: return "copy";
    case BlockInitialiser::copy_zero: return "copy-zero";
    case BlockInitialiser::gaussian_bn: return "gaussian-bn";
  }
  return "?";
}

BlockInitialiser block_initialiser_from(const std::string& name) {
  return enum_from_name("initialiser", name,
                        {BlockInitialiser::zero_gamma, BlockInitialiser::he, BlockInitialiser::copy,
                         BlockInitialiser::copy_zero, BlockInitialiser::gaussian_bn});
}

std::string StageOptions::block_name(std::int64_t number) const { return name + ".blocks." + std::to_string(number); }

Stage::Stage(Backend& backend, StageOptions options, const std::vector<std::int64_t>& numbers, std::int64_t next_number,
             std::uint64_t seed, DType dtype)
    : initialiser_(backend, dtype, seed), options_(std::move(options)), next_number_(next_number) {
  require(!numbers.empty(), "[stage] expected at least one block, got none");
  for (const std::int64_t number : numbers) {
    blocks_.push_back(make_residual_block(initialiser_, options_, number, blocks_.empty()));
  }
}

Variable Stage::forward(const Context& context, Variable x, Tensor* sum) const {
  const auto is_taken = [](const ResidualBlock& block) { return !block.skipped; };
  const ResidualBlock& last = *std::find_if(blocks_.rbegin(), blocks_.rend(), is_taken);  // the first is never skipped
  for (const ResidualBlock& block : blocks_) {
    if (block.skipped) continue;
    const bool wanted = sum != nullptr && &block == &last;
    x = residual_block(context, x, block.parameters, !wanted);
  }
  if (sum == nullptr) return x;
  *sum = x.value();
  return relu(context, x);
}

std::int64_t Stage::insert(std::int64_t index, BlockInitialiser initialiser) {
  require(index >= 1 && index <= depth(), "[stage] expected an index from 1 to ", depth(), " to insert a block into ",
          options_.name, ", got ", index);
  require(depth() < kMaxDepth, "[stage] expected at most ", kMaxDepth, " blocks in ", options_.name);
  const std::int64_t number = next_number_;
  require(number <= kMaxBlockNumber, "[stage] expected block numbers up to ", kMaxBlockNumber, " in ", options_.name);

  const ResidualBlock block = make_residual_block(initialiser_, options_, number, false);
  const BatchNormParameters& last = block.parameters.conv2.batch_norm;
  const std::string last_name = options_.block_name(number) + ".batch_norm2";
  const ResidualBlock& before = blocks_[static_cast<std::size_t>(index - 1)];
  const auto close = [&last] {
    for (const Variable& parameter : {last.weight, last.bias}) parameter.value().backend().fill(parameter.value(), 0.0);
  };
  switch (initialiser) {
    case BlockInitialiser::he: break;
    case BlockInitialiser::copy: copy_block(before, block); break;
    case BlockInitialiser::copy_zero:
      copy_block(before, block);
      close();
      break;
    case BlockInitialiser::zero_gamma: close(); break;
    case BlockInitialiser::gaussian_bn:
      last.weight.set_value(initialiser_.normal(last_name + ".weight", last.weight.shape()));
      last.bias.set_value(initialiser_.normal(last_name + ".bias", last.bias.shape()));
      break;
  }
  blocks_.insert(blocks_.begin() + index, block);
  next_number_ += 1;
  return number;
}

std::vector<ResidualBlock>::iterator Stage::find(std::int64_t number) {
  const auto found =
      std::find_if(blocks_.begin(), blocks_.end(), [=](const ResidualBlock& block) { return block.number == number; });
  require(found != blocks_.end(), "[stage] there is no block ", number, " in ", options_.name);
  require(found != blocks_.begin(), "[stage] block ", number, " of ", options_.name,
          " is the first, which changes the resolution and stays");
  return found;
}

void Stage::remove(std::int64_t number) { blocks_.erase(find(number)); }

void Stage::skip(std::int64_t number, bool skipped) { find(number)->skipped = skipped; }

void Stage::visit(const Visitor& visitor) const {
  for (const ResidualBlock& block : blocks_) block.visit(options_.block_name(block.number), visitor);
}

}  // namespace stagewise
