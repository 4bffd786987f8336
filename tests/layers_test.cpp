// The network: what it costs, how it is named, how it grows, and that a steady step asks nothing of the system.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "layers/cost.h"
#include "layers/schedule.h"
#include "layers/sgd.h"
#include "layers/shrink_and_perturb.h"
#include "layers/weight_average.h"
#include "tensor/random.h"

namespace stagewise {

void PrintTo(Variant variant, std::ostream* out) { *out << name_of(variant); }

namespace {

Architecture small_architecture(const std::vector<std::int64_t>& depths, Variant variant = Variant::standard) {
  Architecture architecture = Architecture::of_depths(depths, variant);
  for (std::size_t stage = 0; stage < architecture.stages.size(); ++stage)
    architecture.stages[stage].width = 4 << stage;
  architecture.height = architecture.width = 8;
  architecture.classes = 3;
  return architecture;
}

Tensor random_images(Backend& backend, const Architecture& architecture, std::int64_t count) {
  const Shape shape{count, architecture.height, architecture.width, architecture.channels};
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(Random(5).normal(i));
  return Tensor::from_host(backend, shape, values);
}

float train_step(Network& network, Optimiser& optimiser, const Tensor& images, double learning_rate) {
  std::vector<std::int32_t> labels(static_cast<std::size_t>(images.shape()[0]));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 3);
  const Tensor targets = Tensor::from_host(images.backend(), {images.shape()[0]}, labels);
  Tape tape;
  const Context context{.tape = &tape, .training = true};
  const Variable loss = softmax_cross_entropy(context, network.forward(context, Variable(images)), targets);
  tape.backward(loss);
  optimiser.step(network, learning_rate);
  return loss.value().to_host<float>()[0];
}

std::vector<float> logits(Network& network, const Tensor& images, bool training) {
  return network.forward({.tape = nullptr, .training = training}, Variable(images)).value().to_host<float>();
}

TEST(Cost, OfThePapersReleasedNetworksIsThePapers) {
  struct Released {
    std::vector<std::int64_t> blocks;
    std::int64_t parameters;
    double mega_macs;
  };
  for (const Released& released : {Released{{6, 8, 6}, 605610, 92.7},
                                   {{8, 10, 6}, 652650, 111.6},
                                   {{10, 12, 6}, 699690, 130.5},
                                   {{10, 12, 8}, 848426, 139.9},
                                   {{10, 14, 8}, 885930, 149.3}}) {
    const Architecture architecture = Architecture::of_depths(released.blocks, Variant::paper);
    const Cost cost = cost_of(architecture).total();
    EXPECT_EQ(cost.parameters(), released.parameters);
    EXPECT_NEAR(static_cast<double>(cost.macs) / 1e6, released.mega_macs, 0.05);
  }
}

TEST(Cost, CountsTheTensorsThatANetworkHas) {
  const auto backend = make_reference_backend();
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    const Architecture architecture = Architecture::of_depths({2, 1, 3}, variant);
    const Network network(*backend, architecture, 1);
    std::int64_t trainable = 0, running = 0;
    network.visit({.parameter = [&](const std::string&, const Variable& p, bool) { trainable += p.value().count(); },
                   .buffer = [&](const std::string&, const Tensor& buffer) { running += buffer.count(); }});
    EXPECT_EQ(cost_of(architecture).total().trainable, trainable);
    EXPECT_EQ(cost_of(architecture).total().running_statistics, running);
  }
}

TEST(Network, NamesItsTensorsAsTheReleasedFilesDo) {
  const auto backend = make_reference_backend();
  const auto tensors = Network(*backend, small_architecture({1, 2}, Variant::paper), 1).tensors();
  for (const char* const name :
       {"stem.conv.weight", "stem.conv.bias", "stem.batch_norm.running_variance", "stages.0.blocks.0.conv1.weight",
        "stages.1.blocks.0.projection.bias", "stages.1.blocks.1.batch_norm2.running_mean", "classifier.weight"}) {
    EXPECT_EQ(tensors.count(name), 1U) << name;
  }
  EXPECT_EQ(tensors.at("stages.1.blocks.0.conv1.weight").shape(), (Shape{8, 3, 3, 4}));
  EXPECT_EQ(tensors.at("classifier.weight").shape(), (Shape{3, 8}));
}

TEST(Network, WeightDecayIsForFiltersAndLinearWeightsOnly) {
  const auto backend = make_reference_backend();
  Network(*backend, small_architecture({1, 1}, Variant::paper), 1)
      .visit({.parameter = [](const std::string& name, const Variable& parameter, bool decays) {
        EXPECT_EQ(decays, parameter.shape().rank() > 1) << name;
      }});
}

TEST(Network, DrawsHeNormalFiltersByTheSeedAndTheNameOnly) {
  const auto backend = make_reference_backend();
  const auto shallow = Network(*backend, Architecture::of_depths({1, 1, 1}), 3).tensors();
  const auto deep = Network(*backend, Architecture::of_depths({2, 2, 2}), 3).tensors();
  const auto other = Network(*backend, Architecture::of_depths({1, 1, 1}), 4).tensors();
  const char* const name = "stages.2.blocks.0.conv2.weight";
  EXPECT_EQ(shallow.at(name).to_doubles(), deep.at(name).to_doubles());
  EXPECT_NE(shallow.at(name).to_doubles(), other.at(name).to_doubles());
  double sum = 0, squares = 0;
  const std::vector<double> values = shallow.at(name).to_doubles();
  for (const double value : values) sum += value, squares += value * value;
  const auto count = static_cast<double>(values.size());  // 36,864: the deviation is known to 0.4%
  EXPECT_NEAR(std::sqrt(squares / count), std::sqrt(2.0 / (64 * 9)), 0.02 * std::sqrt(2.0 / (64 * 9)));
  EXPECT_NEAR(sum / count, 0.0, 0.001);
}

class Growth : public testing::TestWithParam<Variant> {};

TEST_P(Growth, AnInsertionAsTheIdentityLeavesTheLogitsEqualToTheBit) {
  const auto backend = make_cpu_backend();
  const Architecture architecture = small_architecture({2, 2, 1}, GetParam());
  const Tensor images = random_images(*backend, architecture, 5);
  Network trained(*backend, architecture, 1);
  Sgd optimiser;
  for (int step = 0; step < 3; ++step) train_step(trained, optimiser, images, 0.05);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    for (std::int64_t index = 1; index <= trained.depth(stage); ++index) {
      for (const auto initialiser : {BlockInitialiser::zero_gamma, BlockInitialiser::copy_zero}) {
        for (const bool training : {false, true}) {
          const auto before = trained.clone(), grown = trained.clone();
          grown->insert(stage, index, initialiser);
          EXPECT_EQ(logits(*grown, images, training), logits(*before, images, training))
              << name_of(initialiser) << ", stage " << stage << ", index " << index
              << (training ? ", training" : ", evaluation");
        }
      }
    }
  }
}

TEST_P(Growth, OtherInitialisersChangeTheLogits) {
  const auto backend = make_cpu_backend();
  const Architecture architecture = small_architecture({2, 2}, GetParam());
  const Tensor images = random_images(*backend, architecture, 5);
  Network network(*backend, architecture, 1);
  for (const auto initialiser : {BlockInitialiser::he, BlockInitialiser::copy, BlockInitialiser::gaussian_bn}) {
    const auto grown = network.clone();
    grown->insert(0, 2, initialiser);
    EXPECT_NE(logits(*grown, images, true), logits(network, images, true)) << name_of(initialiser);
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, Growth, testing::Values(Variant::standard, Variant::paper),
                         [](const auto& info) { return name_of(info.param); });

TEST(Growth, KeepsEveryTensorNameAndVelocityInPlace) {
  const auto backend = make_cpu_backend();
  const Architecture architecture = small_architecture({1, 2});
  const Tensor images = random_images(*backend, architecture, 6);
  Network network(*backend, architecture, 1);
  Sgd optimiser;
  train_step(network, optimiser, images, 0.1);
  std::map<std::string, std::pair<void*, std::vector<double>>> before, velocities;
  for (const auto& [name, tensor] : network.tensors()) before[name] = {tensor.address(), tensor.to_doubles()};
  for (const auto& [name, tensor] : optimiser.state()) velocities[name] = {tensor.address(), tensor.to_doubles()};

  EXPECT_EQ(network.insert(1, 1, BlockInitialiser::zero_gamma), 2);
  EXPECT_EQ(network.insert(1, 3, BlockInitialiser::he), 3);
  EXPECT_EQ(network.architecture().stages[1].blocks, (std::vector<std::int64_t>{0, 2, 1, 3}));
  const auto after = network.tensors();
  for (const auto& [name, old] : before) {
    EXPECT_EQ(after.at(name).address(), old.first) << name;
    EXPECT_EQ(after.at(name).to_doubles(), old.second) << name;
  }
  for (const auto& [name, old] : velocities) {
    EXPECT_EQ(optimiser.state().at(name).address(), old.first) << name;
    EXPECT_EQ(optimiser.state().at(name).to_doubles(), old.second) << name;
  }
  train_step(network, optimiser, images, 0.1);
  EXPECT_EQ(optimiser.state().count("velocity.stages.1.blocks.2.conv1.weight"), 1U);
}

TEST(ShrinkAndPerturb, MovesEveryParameterTowardsANewNetworks) {
  const auto backend = make_cpu_backend();
  const Architecture architecture = small_architecture({1, 2});
  Network trained(*backend, architecture, 1);
  Sgd optimiser;
  train_step(trained, optimiser, random_images(*backend, architecture, 6), 0.1);
  const auto before = trained.clone()->tensors(), fresh = Network(*backend, architecture, 7).tensors();
  for (const double keep : {1.0, 0.25, 0.0}) {
    const auto network = trained.clone();
    shrink_and_perturb(*network, keep, 7);
    network->visit({.parameter =
                        [&](const std::string& name, const Variable& parameter, bool /*decays*/) {
                          const auto values = parameter.value().to_doubles(), old = before.at(name).to_doubles(),
                                     drawn = fresh.at(name).to_doubles();
                          for (std::size_t i = 0; i < values.size(); ++i) {
                            const double wanted = keep * old[i] + (1.0 - keep) * drawn[i];
                            const double rounding = keep < 1.0 ? 1e-6 * (std::abs(old[i]) + std::abs(drawn[i])) : 0.0;
                            ASSERT_NEAR(values[i], wanted, rounding) << name << " " << i << ", " << keep << " kept";
                          }
                        },
                    .buffer =
                        [&](const std::string& name, const Tensor& buffer) {
                          EXPECT_EQ(buffer.to_doubles(), before.at(name).to_doubles()) << name;
                        }});
  }
  for (const double keep : {-0.1, 1.1, std::nan("")}) EXPECT_THROW(shrink_and_perturb(trained, keep, 7), Error);
}

TEST(Growth, CopyTakesTheBlockBeforeIt) {
  const auto backend = make_cpu_backend();
  Network network(*backend, small_architecture({2}), 1);
  const auto grown = network.clone();
  grown->insert(0, 2, BlockInitialiser::copy);
  const auto tensors = grown->tensors();
  for (const char* const part :
       {".conv1.weight", ".conv2.weight", ".batch_norm1.weight", ".batch_norm2.running_mean"}) {
    EXPECT_EQ(tensors.at(std::string("stages.0.blocks.2") + part).to_doubles(),
              tensors.at(std::string("stages.0.blocks.1") + part).to_doubles());
  }
}

TEST(Growth, RefusesIndicesThatMakeNoSense) {
  const auto backend = make_reference_backend();
  Network network(*backend, small_architecture({2}), 1);
  EXPECT_THROW(network.insert(0, 0, BlockInitialiser::he), Error);
  EXPECT_THROW(network.insert(0, 3, BlockInitialiser::he), Error);
}

TEST(Network, ACloneIsANetworkOfItsOwn) {
  const auto backend = make_cpu_backend();
  const Architecture architecture = small_architecture({1, 1});
  const Tensor images = random_images(*backend, architecture, 4);
  Network network(*backend, architecture, 1);
  const auto clone = network.clone();
  EXPECT_EQ(logits(*clone, images, false), logits(network, images, false));
  Sgd optimiser;
  const auto before = logits(network, images, false);
  train_step(*clone, optimiser, images, 0.5);
  EXPECT_NE(logits(*clone, images, false), before);
  EXPECT_EQ(logits(network, images, false), before);
}

TEST(Training, LearnsAToyProblemAndASteadyStepAllocatesNothing) {
  for (const bool fast : {false, true}) {
    const auto backend = fast ? make_cpu_backend() : make_reference_backend();
    const Architecture architecture = small_architecture({1, 1});
    const Tensor images = random_images(*backend, architecture, 9);
    Network network(*backend, architecture, 1);
    Sgd optimiser;
    const float first = train_step(network, optimiser, images, 0.05);
    train_step(network, optimiser, images, 0.05);
    const auto before = backend->allocator().statistics();
    float last = first;
    for (int step = 0; step < 20; ++step) last = train_step(network, optimiser, images, 0.05);
    EXPECT_LT(last, 0.5F * first);
    EXPECT_EQ(backend->allocator().statistics().system_allocations, before.system_allocations);
    EXPECT_EQ(backend->allocator().statistics().bytes_in_use, before.bytes_in_use);
  }
}

/// Every parameter's value, by name.
std::map<std::string, std::vector<double>> parameter_values(const Network& network) {
  std::map<std::string, std::vector<double>> values;
  network.visit({.parameter = [&](const std::string& name, const Variable& parameter, bool) {
    values[name] = parameter.value().to_doubles();
  }});
  return values;
}

std::map<std::string, std::vector<double>> average_values(const WeightAverage& average) {
  std::map<std::string, std::vector<double>> values;
  for (const auto& [name, tensor] : average.averages()) values[name] = tensor.to_doubles();
  return values;
}

TEST(WeightAverage, IsTheWeightedSumOfWhatTheWeightsWere) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const auto backend = make_reference_backend(true);
    {
      Network network(*backend, small_architecture({1, 1}, Variant::paper), 1, dtype);
      const auto start = parameter_values(network);
      WeightAverage average(0.75);
      average.step(network);
      EXPECT_EQ(average_values(average), start) << "starts at the value";
      // Steps n = 1..4 at the value n: average = 0.75^4 start + 0.25 sum of 0.75^(4-n) n.
      for (int n = 1; n <= 4; ++n) {
        network.visit({.parameter = [&](const std::string&, const Variable& parameter, bool) {
          backend->fill(parameter.value(), n);
        }});
        average.step(network);
      }
      const double rest = 0.25 * (4 + 3 * 0.75 + 2 * 0.5625 + 0.421875);
      for (const auto& [name, values] : average_values(average)) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_NEAR(values[i], std::pow(0.75, 4) * start.at(name)[i] + rest, dtype == DType::float64 ? 1e-14 : 1e-6);
        }
      }
    }
    EXPECT_EQ(backend->allocator().statistics().guard_violations, 0);
  }
}

TEST(WeightAverage, FollowsGrowthAndRemoval) {
  const auto backend = make_cpu_backend();
  Network small(*backend, small_architecture({1, 1}), 1), other(*backend, small_architecture({1}), 2);
  Network network(*backend, small_architecture({1, 1}), 1);
  WeightAverage average(0.5);
  average.step(network);
  std::map<std::string, void*> addresses;
  for (const auto& [name, tensor] : average.averages()) addresses[name] = tensor.address();
  network.insert(0, 1, BlockInitialiser::he);
  EXPECT_THROW(average.exchange(network), Error) << "the new block has no average yet";
  EXPECT_EQ(average_values(average), parameter_values(small)) << "and nothing was swapped";
  average.step(network);
  EXPECT_EQ(average_values(average), parameter_values(network))
      << "the weights didn't move, the new ones start at them";
  for (const auto& [name, address] : addresses) EXPECT_EQ(average.averages().at(name).address(), address) << name;
  EXPECT_EQ(average.averages().count("stages.0.blocks.1.conv1.weight"), 1U);
  // The network without the block, then one without a stage, whose classifier has another shape.
  average.step(small);
  EXPECT_EQ(average_values(average), parameter_values(small));
  EXPECT_THROW(average.step(other), Error);
}

TEST(WeightAverage, ExchangesExactlyAndBack) {
  for (const bool fast : {false, true}) {
    const auto backend = fast ? make_cpu_backend() : make_reference_backend();
    const Architecture architecture = small_architecture({1, 2});
    const Tensor images = random_images(*backend, architecture, 6);
    Network network(*backend, architecture, 1);
    Sgd optimiser;
    WeightAverage average(0.9);
    for (int step = 0; step < 3; ++step) {
      train_step(network, optimiser, images, 0.1);
      average.step(network);
    }
    const auto weights = parameter_values(network), averages = average_values(average);
    const auto trained = logits(network, images, false);
    std::map<std::string, void*> addresses;
    for (const auto& [name, tensor] : network.tensors()) addresses[name] = tensor.address();
    const auto before = backend->allocator().statistics();
    average.exchange(network);
    EXPECT_EQ(parameter_values(network), averages);
    EXPECT_EQ(average_values(average), weights);
    EXPECT_NE(logits(network, images, false), trained);
    average.exchange(network);
    EXPECT_EQ(parameter_values(network), weights);
    EXPECT_EQ(average_values(average), averages);
    EXPECT_EQ(logits(network, images, false), trained);
    for (const auto& [name, tensor] : network.tensors()) EXPECT_EQ(tensor.address(), addresses.at(name)) << name;
    for (int step = 0; step < 5; ++step) average.step(network);
    EXPECT_EQ(backend->allocator().statistics().bytes_in_use, before.bytes_in_use);
  }
}

TEST(WeightAverage, GoesOnFromWhatItIsGiven) {
  const auto backend = make_reference_backend();
  Network network(*backend, small_architecture({1}), 1);
  const std::string name = "classifier.bias";
  WeightAverage average(0.75);
  average.set_average(name, Tensor::full(*backend, {3}, 4.0));
  backend->fill(network.classifier_bias().value(), 8.0);
  average.step(network);
  EXPECT_EQ(average.averages().at(name).to_doubles(), std::vector<double>(3, 5.0));
  EXPECT_EQ(average.averages().size(), parameter_values(network).size());
  average.set_average(name, Tensor::full(*backend, {4}, 4.0));
  EXPECT_THROW(average.step(network), Error);
  EXPECT_THROW(average.exchange(network), Error);
  for (const double decay : {-0.1, 1.0, std::nan("")}) EXPECT_THROW(WeightAverage{decay}, Error);
}

TEST(Schedule, FollowsItsClosedForm) {
  const auto expect_rates = [](const Schedule& schedule, const std::vector<std::pair<double, double>>& rates) {
    for (const auto& [now, rate] : rates) EXPECT_NEAR(schedule.at(now), rate, 1e-12) << now;
  };
  // The trapezoid: up over the first quarter, the peak, down over the last half.
  expect_rates({.kind = ScheduleKind::one_cycle, .peak = 0.4, .warm_up = 0.25, .decay = 0.5},
               {{0, 0.04}, {0.125, 0.22}, {0.25, 0.4}, {0.4, 0.4}, {0.5, 0.4}, {0.75, 0.2}, {0.99, 0.008}, {1, 0}});
  // A decay that reaches into the warm-up begins where that ends.
  for (const double decay : {0.75, 0.9}) {
    expect_rates({.kind = ScheduleKind::one_cycle, .peak = 0.4, .warm_up = 0.25, .decay = decay},
                 {{0, 0.04}, {0.25, 0.4}, {0.255, 0.4 * 149 / 150}, {0.625, 0.2}, {1, 0}});
  }
  expect_rates({.kind = ScheduleKind::one_cycle, .peak = 0.4, .warm_up = 0.25, .decay = 0.0}, {{0.3, 0.4}, {1, 0.4}});

  const double pi = std::acos(-1.0);
  expect_rates({.kind = ScheduleKind::cosine, .peak = 1.0, .warm_up = 0.2}, {{0, 0.1},
                                                                             {0.1, 0.55},
                                                                             {0.2, 1.0},
                                                                             {0.4, 0.5 + std::sqrt(0.125)},
                                                                             {0.6, 0.5},
                                                                             {0.99, 0.5 * (1 - std::cos(pi / 80))},
                                                                             {1, 0}});
  expect_rates({.kind = ScheduleKind::step, .peak = 0.1},
               {{0, 0.1}, {0.499, 0.1}, {0.5, 0.01}, {0.749, 0.01}, {0.75, 0.001}, {1, 0.001}});
  expect_rates({.kind = ScheduleKind::constant, .peak = 0.3}, {{0, 0.3}, {0.5, 0.3}, {1, 0.3}});
}

TEST(Schedule, StartsAtThePeakWithoutWarmUpAndRefusesSharesBeyondTheEnds) {
  for (const ScheduleKind kind : {ScheduleKind::one_cycle, ScheduleKind::cosine}) {
    EXPECT_NEAR((Schedule{.kind = kind, .peak = 0.4, .warm_up = 0.0}.at(0)), 0.4, 1e-12);
    EXPECT_NEAR((Schedule{.kind = kind, .peak = 0.4, .warm_up = 1.0}.at(0.9)), 0.4 * 0.91, 1e-12);
  }
  for (const double now : {-0.1, 1.1, std::nan("")}) EXPECT_THROW(Schedule().at(now), Error);
  EXPECT_THROW((Schedule{.warm_up = 1.5}.at(0)), Error);
  EXPECT_THROW((Schedule{.decay = -0.1}.at(0)), Error);
  EXPECT_THROW(schedule_kind_from("linear"), Error);
}

TEST(Architecture, SurvivesJson) {
  Architecture architecture = Architecture::of_depths({3, 4, 5}, Variant::paper);
  architecture.stages[1].blocks = {0, 4, 1, 2};
  architecture.classes = 7;
  EXPECT_EQ(Architecture::from_json(architecture.to_json()), architecture);
  for (const char* const text : {"", "[]", "{}", R"({"stages":1})", R"({"stages":[{"width":-1,"blocks":[0]}]})"}) {
    EXPECT_THROW(Architecture::from_json(text), Error) << text;
  }
}

TEST(Architecture, RefusesDepthsThatAreNotWholeNumbersFrom1To1000) {
  EXPECT_EQ(parse_depths("3,14,8", "--blocks"), (std::vector<std::int64_t>{3, 14, 8}));
  for (const char* const text : {"", "0", "3,0,3", "-1", "abc", "3,,3", "3,3,", "3.5", "100000000000", "1001", "3 3"}) {
    try {
      parse_depths(text, "--blocks");
      ADD_FAILURE() << "`" << text << "` was taken";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("--blocks"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(Architecture::of_depths({}), Error);
  EXPECT_THROW(Architecture::of_depths({1, 1, 1, 1, 1, 1, 1}), Error) << "32x32 images can't be halved six times";
}

}  // namespace
}  // namespace stagewise
