// Package wit has the types of the WIT that Go does not have.
package wit

// The tags of an Option and of a Result.
const (
	OptionNone uint8 = 0
	OptionSome uint8 = 1
	ResultOk   uint8 = 0
	ResultErr  uint8 = 1
)

// Option is a value that may be missing.
type Option[T any] struct {
	value   T
	isThere bool
}

// Some returns an option with a value.
func Some[T any](value T) Option[T] {
	return Option[T]{value: value, isThere: true}
}

// None returns an option without a value.
func None[T any]() Option[T] {
	return Option[T]{}
}

// IsSome returns whether there is a value.
func (option Option[T]) IsSome() bool {
	return option.isThere
}

// IsNone returns whether the value is missing.
func (option Option[T]) IsNone() bool {
	return !option.isThere
}

// Tag returns OptionSome or OptionNone.
func (option Option[T]) Tag() uint8 {
	if option.isThere {
		return OptionSome
	}
	return OptionNone
}

// Some returns the value. It panics if it is missing.
func (option Option[T]) Some() T {
	if !option.isThere {
		panic("the option has no value")
	}
	return option.value
}

// SomeOr returns the value, or another one if it is missing.
func (option Option[T]) SomeOr(other T) T {
	if option.isThere {
		return option.value
	}
	return other
}

// Result is a value or an error.
type Result[T, E any] struct {
	value T
	err   E
	isErr bool
}

// Ok returns a result with a value.
func Ok[T, E any](value T) Result[T, E] {
	return Result[T, E]{value: value}
}

// Err returns a result with an error.
func Err[T, E any](err E) Result[T, E] {
	return Result[T, E]{err: err, isErr: true}
}

// IsOk returns whether it is a value.
func (result Result[T, E]) IsOk() bool {
	return !result.isErr
}

// IsErr returns whether it is an error.
func (result Result[T, E]) IsErr() bool {
	return result.isErr
}

// Tag returns ResultOk or ResultErr.
func (result Result[T, E]) Tag() uint8 {
	if result.isErr {
		return ResultErr
	}
	return ResultOk
}

// Ok returns the value. It panics if it is an error.
func (result Result[T, E]) Ok() T {
	if result.isErr {
		panic("the result is an error")
	}
	return result.value
}

// Err returns the error. It panics if it is a value.
func (result Result[T, E]) Err() E {
	if !result.isErr {
		panic("the result is no error")
	}
	return result.err
}

// Unit is no value.
type Unit struct{}

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

// Tuple3 is a group of three.
type Tuple3[A, B, C any] struct {
	F0 A
	F1 B
	F2 C
}
