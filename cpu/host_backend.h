// What backends in host memory share.
#pragma once

#include "tensor/backend.h"

namespace stagewise {

class HostBackend : public Backend {
 public:
  explicit HostBackend(bool guarded);
  CachingAllocator& allocator() override { return allocator_; }
  void copy_from_host(const void* from, const Tensor& to) override;
  void copy_to_host(const Tensor& from, void* to) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void fill(const Tensor& tensor, double value) override;
  void synchronise() override {}
  void draw_numbers(const DrawNumbers& call) override;
  void draw_augmentation(const DrawAugmentation& call) override;

 private:
  CachingAllocator allocator_;
};

}  // namespace stagewise
