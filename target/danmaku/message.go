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
	id   []byte
	rest []byte // stamp and text
}

// parse reads a client's line.
func parse(line []byte) (publish, error) {
	rest, ok := bytes.CutPrefix(line, []byte("pub "))
	if !ok || len(line) > MaxMessage || bytes.IndexByte(line, '\n') >= 0 {
		return publish{}, errMalformed
	}
	id, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(id) == 0 || len(id) > 20 || !digits(id) {
		return publish{}, errMalformed
	}
	at, _, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(at) == 0 || len(at) > 20 || !digits(at) {
		return publish{}, errMalformed
	}
	return publish{id: id, rest: rest}, nil
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
