package esdbtest

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec encodes messages into buffers of their own size. gRPC's own codec takes
// them from a pool in which the next size above 32 KiB is 1 MiB: what waits for a
// slow reader would be up to 16 times as large here, and the double shares its
// process with the test that measures that reader.
type codec struct{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("esdbtest: encode %T: it is no message", v)
	}
	data, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: encode %T: %w", v, err)
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("esdbtest: decode %T: it is no message", v)
	}
	if err := proto.Unmarshal(data.Materialize(), message); err != nil {
		return fmt.Errorf("esdbtest: decode %T: %w", v, err)
	}
	return nil
}
