// Package danmaku is bullet chat: WebSocket rooms, acknowledged publishes, batched delivery, joined over all servers
// through Redis.
//
// A WebSocket text message holds one or more lines. A client sends "pub ID STAMP TEXT"; the server answers "ack ID" or
// "nak ID REASON", and sends every member of the room, the sender too, "msg FROM ID STAMP TEXT". ID counts a client's own
// messages, STAMP is the intended send time in microseconds of the Unix epoch.
package danmaku

import (
	"bytes"
	"errors"
)

// MaxMessage is the size of the largest message that a client may send, in bytes.
const MaxMessage = 1024

var errMalformed = errors.New("malformed message")

// publish is what a client sends.
type publish struct {
	id   uint64
	rest []byte // stamp and text
}

// parse reads a client's line.
func parse(line []byte) (publish, error) {
	rest, ok := bytes.CutPrefix(line, []byte("pub "))
	if !ok || len(line) > MaxMessage || bytes.IndexByte(line, '\n') >= 0 {
		return publish{}, errMalformed
	}
	id, rest, ok := bytes.Cut(rest, []byte(" "))
	number, digital := Number(id)
	if !ok || !digital {
		return publish{}, errMalformed
	}
	at, _, ok := bytes.Cut(rest, []byte(" "))
	if _, digital := Number(at); !ok || !digital {
		return publish{}, errMalformed
	}
	return publish{id: number, rest: rest}, nil
}

// Number reads a decimal number of at most 18 digits, without allocating.
func Number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
