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
	in     []byte
	head   int // length of the status line and the header; 0: they are not complete yet
	looked int // how much of it was searched for their end
	code   int
	size   int    // of the body, or one of the two below
	at     int    // where the next piece of a body in pieces begins
	body   []byte // the pieces before it
	last   bool   // the connection is of no more use behind it
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
		from := max(a.looked-3, 0)
		end := bytes.Index(a.in[from:], []byte("\r\n\r\n"))
		a.looked = len(a.in)
		switch {
		case end < 0 && len(a.in) > headLimit:
			return nil, false, errMalformed
		case end < 0 && ended:
			return nil, false, io.ErrUnexpectedEOF
		case end < 0:
			return nil, false, nil
		}
		if err := a.parse(a.in[:from+end]); err != nil {
			return nil, false, err
		}
		if a.head = from + end + 4; a.code < 200 { // the answer comes behind it (RFC 9110, 15.2)
			a.in, a.head, a.looked = a.in[a.head:], 0, 0
		}
		a.at = a.head
	}
	have := a.in[a.head:]
	if bodiless || a.code == 204 || a.code == 304 {
		a.last = a.last || len(have) > 0
		return nil, true, nil
	}
	if len(have) > bodyLimit || a.size > bodyLimit {
		return nil, false, fmt.Errorf("%w: its body is larger than %d MiB", errMalformed, bodyLimit>>20)
	}
	switch {
	case a.size == untilEnd && ended:
		return have, true, nil
	case a.size == inPieces:
		body, done, err = a.pieces()
	case a.size >= 0 && len(have) >= a.size:
		a.last = a.last || len(have) > a.size // what stands behind it belongs to no request
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
	length, pieces := -1, false
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return errMalformed
		}
		if bytes.ContainsAny(name, " \t") {
			return errMalformed
		}
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			n, ok := number(value)
			if !ok || length >= 0 && n != length {
				return errMalformed
			}
			length = n
		case is(name, "transfer-encoding"):
			all := bytes.Split(value, []byte(","))
			if pieces = is(bytes.TrimSpace(all[len(all)-1]), "chunked"); !pieces { // nobody could tell where it ends
				return errMalformed
			}
		case is(name, "connection"):
			for _, v := range bytes.Split(value, []byte(",")) {
				a.last = a.last && !is(bytes.TrimSpace(v), "keep-alive") || is(bytes.TrimSpace(v), "close")
			}
		}
	}
	switch {
	case pieces:
		a.size, a.last = inPieces, a.last || length >= 0 // both: somebody between here and there may understand it otherwise (6.3)
	case length >= 0:
		a.size = length
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

// pieces reads on in a body that comes in pieces (7.1). Trailers are read over.
func (a *answer) pieces() (body []byte, done bool, err error) {
	for {
		in := a.in[a.at:]
		line, rest, ok := bytes.Cut(in, []byte("\r\n"))
		if !ok {
			if len(line) > headLimit {
				err = errMalformed
			}
			return nil, false, err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
		switch {
		case err != nil:
			return nil, false, errMalformed
		case size == 0 && len(rest) > headLimit:
			return nil, false, errMalformed
		case size == 0:
			end, done := trailers(rest)
			a.last = a.last || done && end < len(rest)
			return a.body, done, nil
		case uint64(len(rest)) < size+2:
			return nil, false, nil
		case string(rest[size:size+2]) != "\r\n":
			return nil, false, errMalformed
		}
		a.body = append(a.body, rest[:size]...)
		a.at += len(line) + 2 + int(size) + 2
	}
}

// trailers tells where the trailers behind the last piece end, and whether they do.
func trailers(in []byte) (end int, done bool) {
	if bytes.HasPrefix(in, []byte("\r\n")) {
		return 2, true
	}
	end = bytes.Index(in, []byte("\r\n\r\n"))
	return end + 4, end >= 0
}
