// The tape, and what the ops say about inputs that don't fit.
#include <gtest/gtest.h>

#include "autograd/functions.h"
#include "cpu/reference_backend.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

class Autograd : public testing::Test {
 protected:
  Variable variable(const Shape& shape, double value, bool requires_grad = true) {
    return Variable(Tensor::full(*backend_, shape, value), requires_grad);
  }
  Context training() { return {.tape = &tape_, .training = true}; }

  /// `call` throws an Error that names `op` and says what was expected.
  static void expect_refused(const std::string& op, const std::function<void()>& call) {
    EXPECT_TRUE(contains(message_of(call), "[" + op + "] expected"));
  }

  std::unique_ptr<Backend> backend_ = make_reference_backend(true);
  Tape tape_;
};

TEST_F(Autograd, AddsTheGradientsOfAllUses) {
  const Variable x = variable({1}, 3.0);
  const Variable twice = add(training(), x, x);
  tape_.backward(add(training(), twice, x));
  EXPECT_EQ(x.grad().to_doubles(), std::vector<double>{3.0});
  EXPECT_EQ(tape_.size(), 0U);
}

TEST_F(Autograd, RecordsOnlyWhatALossCanDependOn) {
  const Variable constant = variable({2}, 1.0, false);
  EXPECT_FALSE(add(training(), constant, constant).requires_grad());
  EXPECT_EQ(tape_.size(), 0U);
  EXPECT_FALSE(add({}, variable({2}, 1.0), constant).requires_grad());
  EXPECT_TRUE(add(training(), variable({2}, 1.0), constant).requires_grad());
  EXPECT_EQ(tape_.ops(), std::vector<std::string>{"add"});
}

TEST_F(Autograd, SkipsOpsThatTheLossDoesNotUse) {
  const Variable x = variable({1}, 2.0);
  relu(training(), x);
  tape_.backward(relu(training(), x));
  EXPECT_EQ(x.grad().to_doubles(), std::vector<double>{1.0});
}

TEST_F(Autograd, FreesBuffersAsItGoesBack) {
  const auto in_use = [this] { return backend_->allocator().statistics().bytes_in_use; };
  const Variable x = variable({1, 8, 8, 4}, 1.0);
  const auto before = in_use();
  auto at_the_first_op = before;
  tape_.record("look", [&] { at_the_first_op = in_use(); });
  Variable y = x;
  for (int i = 0; i < 5; ++i) y = relu(training(), y);
  const auto one = (in_use() - before) / 5;
  EXPECT_GT(one, 0);
  y.accumulate_grad(Tensor::full(*backend_, y.shape(), 1.0));
  tape_.backward();
  EXPECT_LE(at_the_first_op, before + 3 * one);  // y, its gradient and that of x; the four between are gone
  y = Variable();
  x.clear_grad();
  EXPECT_EQ(in_use(), before);
}

TEST_F(Autograd, GoesBackFromSingleNumbersOnly) {
  EXPECT_TRUE(contains(message_of([&] { tape_.backward(variable({2}, 1.0)); }), "a loss of one element, got [2]"));
}

TEST_F(Autograd, SaysWhatWasExpectedAndWhatCame) {
  const Variable x = variable({2, 8, 8, 3}, 1.0), weight = variable({4, 3, 3, 16}, 1.0);
  const std::string text = message_of([&] { conv2d(training(), x, weight, {}, {1, 1, 1}); });
  for (const char* const part : {"[conv2d]", "16", "[2,8,8,3]"}) EXPECT_TRUE(contains(text, part));
}

TEST_F(Autograd, RefusesWhatDoesNotFit) {
  const Variable image = variable({2, 4, 4, 3}, 1.0), filter = variable({5, 3, 3, 3}, 1.0);
  expect_refused("add", [&] { add(training(), variable({2}, 1.0), variable({3}, 1.0)); });
  expect_refused("conv2d", [&] { conv2d(training(), image, filter, variable({4}, 1.0), {}); });
  expect_refused("conv2d", [&] { conv2d(training(), image, filter, {}, {.stride = 0}); });
  expect_refused("conv2d", [&] { conv2d(training(), variable({1, 2, 2, 3}, 1.0), filter, {}, {}); });
  expect_refused("linear", [&] { linear(training(), variable({2, 3}, 1.0), variable({4, 5}, 1.0), {}); });
  expect_refused("average_pool", [&] { average_pool(training(), image, 5, 1); });
  const Tensor labels = Tensor::from_host(*backend_, {3}, std::vector<std::int32_t>{0, 1, 2});
  const char* const loss = "softmax_cross_entropy";
  expect_refused(loss, [&] { softmax_cross_entropy(training(), variable({2, 3}, 1.0), labels); });
  expect_refused(loss, [&] { softmax_cross_entropy(training(), variable({3, 3}, 1.0), labels, 1.5); });
}

TEST_F(Autograd, BatchNormNeedsTwoPixelsAndTrainingForATape) {
  const BatchNormParameters parameters{.weight = variable({3}, 1.0),
                                       .bias = variable({3}, 0.0),
                                       .running_mean = Tensor::zeros(*backend_, {3}),
                                       .running_variance = Tensor::full(*backend_, {3}, 1.0)};
  expect_refused("batch_norm", [&] { batch_norm(training(), variable({1, 1, 1, 3}, 1.0), parameters); });
  expect_refused("batch_norm", [&] { batch_norm({.tape = &tape_}, variable({2, 2, 2, 3}, 1.0), parameters); });
  EXPECT_NO_THROW(batch_norm({}, variable({1, 1, 1, 3}, 1.0), parameters));
}

}  // namespace
}  // namespace stagewise
