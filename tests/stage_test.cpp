// Stages that change: blocks put in, taken out and skipped, and what is remembered of them.
#include <gtest/gtest.h>

#include "cpu/cpu_backend.h"
#include "layers/adamw.h"
#include "layers/inference.h"
#include "layers/network.h"
#include "layers/sgd.h"
#include "layers/weight_average.h"
#include "tensor/random.h"

namespace stagewise {
namespace {

Architecture small_architecture(const std::vector<std::int64_t>& depths) {
  Architecture architecture = Architecture::of_depths(depths);
  architecture.height = architecture.width = 8;
  architecture.classes = 3;
  return architecture;
}

class ChangingStage : public testing::Test {
 protected:
  ChangingStage() {
    std::vector<float> values(6 * 8 * 8 * 3);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(Random(5).normal(i));
    images_ = Tensor::from_host(*backend_, {6, 8, 8, 3}, values);
    for (int step = 0; step < 3; ++step) train_step();
  }

  void train_step() {
    train_step(optimiser_, 0.05);
    average_.step(network_);
  }
  void train_step(Optimiser& optimiser, double rate) {
    const Tensor labels = Tensor::from_host(*backend_, {6}, std::vector<std::int32_t>{0, 1, 2, 0, 1, 2});
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    tape.backward(softmax_cross_entropy(context, network_.forward(context, Variable(images_)), labels));
    optimiser.step(network_, rate);
  }

  std::vector<float> logits(Network& network, bool training) const {
    return network.forward({.training = training}, Variable(images_)).value().to_host<float>();
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Network network_{*backend_, small_architecture({2, 3}), 1};
  Sgd optimiser_;
  WeightAverage average_{0.5};
  Tensor images_;
};

TEST_F(ChangingStage, ASkippedBlockIsAsIfItWereNotThere) {
  for (const auto& [stage, number] : std::vector<std::pair<std::size_t, std::int64_t>>{{0, 1}, {1, 1}, {1, 2}}) {
    const auto skipping = network_.clone(), without = network_.clone();
    skipping->skip(stage, number);
    without->remove(stage, number);
    EXPECT_EQ(skipping->active_architecture().depths(), without->architecture().depths());
    EXPECT_EQ(skipping->architecture().depths(), network_.architecture().depths());
    EXPECT_EQ(InferenceNetwork(*skipping).logits(images_).to_host<float>(),
              InferenceNetwork(*without).logits(images_).to_host<float>());
    std::vector<Tensor> sums, expected;
    skipping->evaluate(images_, &sums);
    without->evaluate(images_, &expected);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(sums[i].to_host<float>(), expected[i].to_host<float>());
    for (const bool training : {false, true}) EXPECT_EQ(logits(*skipping, training), logits(*without, training));
    // Taken in again, it is as it was: its running statistics stood still.
    const auto never = network_.clone();
    const auto block = block_name(stage, number) + ".batch_norm2.running_mean";
    EXPECT_EQ(skipping->tensors().at(block).to_doubles(), never->tensors().at(block).to_doubles());
    skipping->skip(stage, number, false);
    EXPECT_EQ(skipping->active_architecture(), network_.architecture());
  }
}

TEST_F(ChangingStage, ANumberIsNeverUsedAgain) {
  EXPECT_EQ(network_.insert(1, 3, BlockInitialiser::he), 3);
  const auto first = network_.tensors().at("stages.1.blocks.3.conv1.weight").to_doubles();
  network_.remove(1, 3);
  EXPECT_EQ(network_.architecture().stages[1].next_number(), 4);
  // Not after the architecture was written down and read again, nor in a clone.
  const Architecture read = Architecture::from_json(network_.architecture().to_json());
  EXPECT_EQ(read, network_.architecture());
  EXPECT_NE(read, Network(*backend_, small_architecture({2, 3}), 1).architecture()) << "the next block differs";
  Network again(*backend_, read, 1);
  EXPECT_EQ(again.insert(1, 1, BlockInitialiser::he), 4);
  EXPECT_EQ(network_.clone()->insert(1, 1, BlockInitialiser::he), 4);
  EXPECT_EQ(network_.insert(1, 3, BlockInitialiser::he), 4);
  EXPECT_NE(network_.tensors().at("stages.1.blocks.4.conv1.weight").to_doubles(), first) << "another draw";
  network_.remove(1, 2);
  EXPECT_EQ(network_.architecture().stages[1].blocks, (std::vector<std::int64_t>{0, 1, 4}));
  EXPECT_EQ(network_.architecture().stages[1].next_number(), 5);
}

TEST_F(ChangingStage, WhatWasKeptOfARemovedBlockIsForgotten) {
  const std::string gone = "stages.1.blocks.2.conv1.weight", there = "stages.1.blocks.1.conv1.weight";
  ASSERT_TRUE(optimiser_.state().contains("velocity." + gone) && average_.averages().contains(gone));
  const auto velocity = optimiser_.state().at("velocity." + there).to_doubles();
  network_.remove(1, 2);
  optimiser_.keep_only(network_);
  EXPECT_FALSE(optimiser_.state().contains("velocity." + gone));
  EXPECT_EQ(optimiser_.state().at("velocity." + there).to_doubles(), velocity);
  train_step();
  EXPECT_FALSE(average_.averages().contains(gone));
  EXPECT_FALSE(optimiser_.state().contains("velocity." + gone));
  EXPECT_TRUE(average_.averages().contains(there));
}

TEST_F(ChangingStage, TheFirstBlockStaysAndAnUnknownOneIsNamed) {
  EXPECT_THROW(network_.remove(1, 0), Error);
  EXPECT_THROW(network_.skip(1, 0), Error);
  EXPECT_THROW(network_.remove(1, 7), Error);
  EXPECT_THROW(network_.skip(1, -1), Error);
  EXPECT_EQ(network_.depth(1), 3);
}

/// AdamW's state is kept, begun, forgotten and counted as a velocity is.
TEST_F(ChangingStage, AnOptimisersStateGrowsAndShrinksWithTheNetwork) {
  AdamW adamw;
  const auto step = [&] { train_step(adamw, 1e-3); };
  const std::string old = "stages.1.blocks.1.conv1.weight";
  for (int i = 0; i < 3; ++i) step();
  const void* const moment = adamw.state().at("first_moment." + old).address();
  const std::string fresh = block_name(1, network_.insert(1, 2, BlockInitialiser::he)) + ".conv1.weight";
  step();
  EXPECT_EQ(adamw.state().at("first_moment." + old).address(), moment) << "it stays where it is";
  EXPECT_EQ(adamw.state().at("steps." + old).to_doubles(), std::vector<double>{4.0});
  EXPECT_EQ(adamw.state().at("steps." + fresh).to_doubles(), std::vector<double>{1.0})
      << "a new block's count is its own";
  EXPECT_EQ(adamw.state().at("second_moment." + fresh).shape(), network_.tensors().at(fresh).shape());
  network_.skip(1, 1);
  step();
  EXPECT_EQ(adamw.state().at("steps." + old).to_doubles(), std::vector<double>{4.0}) << "no gradient, no step";
  network_.remove(1, 1);
  adamw.keep_only(network_);
  for (const std::string& kind : adamw.state_kinds()) {
    EXPECT_FALSE(adamw.state().contains(kind + "." + old));
    EXPECT_TRUE(adamw.state().contains(kind + "." + fresh));
  }
  adamw.set_state("steps." + fresh, Tensor::zeros(*backend_, {2}));
  EXPECT_THROW(step(), Error) << "a checkpoint's state of another shape";
}

}  // namespace
}  // namespace stagewise
