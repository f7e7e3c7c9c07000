package rtmp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Object is an AMF0 object or ECMA array (AMF 0 specification, 2.5 and 2.10).
type Object map[string]any

// The markers of AMF0 that RTMP commands are made of (2.1).
const (
	amfNumber = iota
	amfBoolean
	amfString
	amfObject
	_
	amfNull
	amfUndefined
	_
	amfArray
	amfEnd
	amfStrict
	amfDate
	amfLong
)

// maxDepth bounds nested objects, maxItems the values of one message.
const (
	maxDepth = 8
	maxItems = 1024
)

// appendAMF writes values behind dst. Values are float64, bool, string, nil and Object.
func appendAMF(dst []byte, values ...any) []byte {
	for _, v := range values {
		switch v := v.(type) {
		case float64:
			dst = binary.BigEndian.AppendUint64(append(dst, amfNumber), math.Float64bits(v))
		case bool:
			b := byte(0)
			if v {
				b = 1
			}
			dst = append(dst, amfBoolean, b)
		case string:
			dst = appendString(append(dst, amfString), v)
		case Object:
			dst = append(dst, amfObject)
			for k, item := range v {
				dst = appendAMF(appendString(dst, k), item)
			}
			dst = append(dst, 0, 0, amfEnd)
		default:
			dst = append(dst, amfNull)
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// decodeAMF reads all the values of a message.
func decodeAMF(data []byte) ([]any, error) {
	d := amfDecoder{data: data}
	var out []any
	for len(d.data) > 0 {
		v, err := d.value(0)
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

type amfDecoder struct {
	data  []byte
	items int
}

func (d *amfDecoder) take(n int) ([]byte, error) {
	if n > len(d.data) {
		return nil, fmt.Errorf("%w: AMF value of %d bytes where %d are left", ErrMalformed, n, len(d.data))
	}
	out := d.data[:n]
	d.data = d.data[n:]
	return out, nil
}

func (d *amfDecoder) value(depth int) (any, error) {
	if d.items++; d.items > maxItems || depth > maxDepth {
		return nil, fmt.Errorf("%w: AMF message with too many or too deep values", ErrMalformed)
	}
	marker, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch marker[0] {
	case amfNumber:
		b, err := d.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case amfBoolean:
		b, err := d.take(1)
		if err != nil {
			return nil, err
		}
		return b[0] != 0, nil
	case amfString:
		return d.string(2)
	case amfLong:
		return d.string(4)
	case amfObject:
		return d.object(depth)
	case amfArray:
		if _, err := d.take(4); err != nil {
			return nil, err
		}
		return d.object(depth)
	case amfStrict:
		return d.strict(depth)
	case amfDate:
		_, err := d.take(10)
		return nil, err
	case amfNull, amfUndefined:
		return nil, nil
	default:
		return nil, fmt.Errorf("%w: AMF marker %d", ErrMalformed, marker[0])
	}
}

// string reads a string whose length stands in the given number of bytes.
func (d *amfDecoder) string(width int) (string, error) {
	head, err := d.take(width)
	if err != nil {
		return "", err
	}
	n := 0
	for _, b := range head {
		n = n<<8 | int(b)
	}
	body, err := d.take(n)
	return string(body), err
}

func (d *amfDecoder) object(depth int) (Object, error) {
	out := Object{}
	for {
		key, err := d.string(2)
		if err != nil {
			return nil, err
		}
		if key == "" && len(d.data) > 0 && d.data[0] == amfEnd {
			d.data = d.data[1:]
			return out, nil
		}
		if out[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
}

func (d *amfDecoder) strict(depth int) ([]any, error) {
	head, err := d.take(4)
	if err != nil {
		return nil, err
	}
	var out []any
	for range binary.BigEndian.Uint32(head) {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
