package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// answer is what has come so far of one answer (RFC 9112).
type answer struct {
	in   []byte
	head int // length of the status line and the header; 0: they are not complete yet
	code int
	size int  // of the body, or one of the two below
	last bool // the server closes the connection behind it
}

const (
	inPieces = -1 // its end stands in it (7.1)
	untilEnd = -2 // of the connection (6.3, 8)

	headLimit = 64 << 10
)

var errMalformed = errors.New("no answer of HTTP/1.1")

// whole tells whether the answer is complete, and gives its body then. ended: the connection is, and no more will come.
func (a *answer) whole(bodiless, ended bool) (body []byte, done bool, err error) {
	for a.head == 0 {
		end := bytes.Index(a.in, []byte("\r\n\r\n"))
		switch {
		case end < 0 && len(a.in) > headLimit:
			return nil, false, errMalformed
		case end < 0 && ended:
			return nil, false, io.ErrUnexpectedEOF
		case end < 0:
			return nil, false, nil
		}
		if err := a.parse(a.in[:end]); err != nil {
			return nil, false, err
		}
		if a.head = end + 4; a.code < 200 { // the answer comes behind it (RFC 9110, 15.2)
			a.in, a.head = a.in[a.head:], 0
		}
	}
	if bodiless || a.code == 204 || a.code == 304 {
		return nil, true, nil
	}
	have := a.in[a.head:]
	if len(have) > bodyLimit || a.size > bodyLimit {
		return nil, false, fmt.Errorf("%w: its body is larger than %d MiB", errMalformed, bodyLimit>>20)
	}
	switch {
	case a.size == untilEnd && ended:
		return have, true, nil
	case a.size == inPieces:
		body, done, err = chunked(have)
	case a.size >= 0 && len(have) >= a.size:
		return have[:a.size], true, nil
	}
	if ended && !done && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return body, done, err
}

// parse reads a status line and a header, without the empty line behind them.
func (a *answer) parse(head []byte) error {
	if bytes.Count(head, []byte("\n")) != bytes.Count(head, []byte("\r\n")) { // some would take that for the end of a line as well (2.2)
		return errMalformed
	}
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return errMalformed
	}
	code, ok := number(line[9:12])
	if !ok || code < 100 {
		return errMalformed
	}
	a.code, a.size, a.last = code, untilEnd, line[7] == '0'
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return errMalformed
		}
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length") && a.size != inPieces:
			if a.size, ok = number(value); !ok {
				return errMalformed
			}
		case is(name, "transfer-encoding") && is(value, "chunked"):
			a.size = inPieces
		case is(name, "connection"):
			a.last = is(value, "close")
		}
	}
	return nil
}

// is compares without regard to case.
func is(text []byte, name string) bool {
	return len(text) == len(name) && bytes.EqualFold(text, []byte(name))
}

// number reads a number of at most nine digits.
func number(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(text) > 0 && len(text) <= 9
}

// chunked reads a body that comes in pieces (RFC 9112, 7.1). Trailers are read over.
func chunked(in []byte) (body []byte, done bool, err error) {
	var parts [][]byte
	for {
		line, rest, ok := bytes.Cut(in, []byte("\r\n"))
		if !ok {
			if len(line) > headLimit {
				err = errMalformed
			}
			return nil, false, err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
		if err != nil {
			return nil, false, errMalformed
		}
		if size == 0 {
			return bytes.Join(parts, nil), ended(rest), nil
		}
		if in = rest; uint64(len(in)) < size+2 {
			return nil, false, nil
		}
		if string(in[size:size+2]) != "\r\n" {
			return nil, false, errMalformed
		}
		parts, in = append(parts, in[:size]), in[size+2:]
	}
}

// ended tells whether the trailers behind the last piece are there, with the empty line behind them.
func ended(in []byte) bool {
	return bytes.HasPrefix(in, []byte("\r\n")) || bytes.Contains(in, []byte("\r\n\r\n"))
}
