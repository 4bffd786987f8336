#include "layers/module.h"

#include "tensor/backend.h"

namespace stagewise {

std::map<std::string, Tensor> tensors_of(const std::function<void(const Visitor&)>& visit) {
  std::map<std::string, Tensor> tensors;
  Visitor visitor;
  visitor.parameter = [&](const std::string& name, const Variable& parameter, bool) {
    tensors[name] = parameter.value();
  };
  visitor.buffer = [&](const std::string& name, const Tensor& buffer) { tensors[name] = buffer; };
  visit(visitor);
  return tensors;
}

void copy_values(const Tensor& from, const Tensor& to) {
  const bool alike = &from.backend() == &to.backend() && from.dtype() == to.dtype();
  to.backend().copy(alike ? from : Tensor::from_doubles(to.backend(), to.shape(), from.to_doubles(), to.dtype()), to);
}

}  // namespace stagewise
