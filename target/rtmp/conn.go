// Package rtmp speaks Adobe's Real-Time Messaging Protocol 1.0 as far as live streams need it: the plain handshake,
// chunks, AMF0 commands, publish and play, both as server and as client. It moves flv.Tags without looking into them.
package rtmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// ErrMalformed is in the chain of every error about what the other side sent, as against the connection itself.
var ErrMalformed = errors.New("malformed RTMP")

// ErrRefused is in the chain of an error by which a server turned a command down.
var ErrRefused = fmt.Errorf("%w by the RTMP server", target.ErrRefused)

// The message types (RTMP 1.0, 5.4, 6.2 and 7.1).
const (
	setChunkSize  = 1
	acknowledge   = 3
	userControl   = 4
	windowSize    = 5
	peerBandwidth = 6
	commandAMF3   = 17
	commandAMF0   = 20

	pingRequest  = 6
	pingResponse = 7
	streamBegin  = 0

	ackWindow = 5 << 20
)

// The chunk streams that we send on.
const (
	onControl = 2
	onCommand = 3
	onAudio   = 4
	onVideo   = 6
)

// Conn is an RTMP connection. One goroutine may read while another writes.
type Conn struct {
	net     net.Conn
	chunks  *chunkReader
	out     []byte
	timeout time.Duration
	chunk   int    // size of the chunks that we send
	window  uint32 // bytes after which the other side wants to hear from us
	acked   uint32
	number  float64 // of the last command
	stream  uint32
	until   time.Time // when the other side must have said what it wants; zero: it has
}

const (
	mediaBuffer   = 32 << 10 // of one to whom media come
	commandBuffer = 2 << 10  // of one who hears commands alone: a publisher should not cost more than its frames
)

// newConn wraps a connection. timeout bounds every single read and write.
func newConn(nc net.Conn, timeout time.Duration, buffer int) *Conn {
	return &Conn{net: nc, chunks: newChunkReader(bufio.NewReaderSize(nc, buffer)), timeout: timeout, chunk: defaultChunk,
		stream: 1}
}

// Close ends the connection.
func (c *Conn) Close() error { return c.net.Close() }

// ReadTag returns the next unit of media.
func (c *Conn) ReadTag() (flv.Tag, error) {
	for {
		m, err := c.read()
		if err != nil {
			return flv.Tag{}, err
		}
		switch m.kind {
		case flv.Audio, flv.Video:
			return flv.Tag{Type: m.kind, Timestamp: m.timestamp, Data: m.body}, nil
		case flv.Script:
			return flv.Tag{Type: m.kind, Timestamp: m.timestamp, Data: withoutSetDataFrame(m.body)}, nil
		case commandAMF0:
			if err := ended(m.body); err != nil {
				return flv.Tag{}, err
			}
		}
	}
}

// ErrEnded is returned by ReadTag when the other side said that its stream is over.
var ErrEnded = errors.New("stream ended")

// ended looks for the commands that close a stream (7.2.2.3; FCUnpublish is what encoders send first).
func ended(body []byte) error {
	args, err := decodeAMF(body)
	if err != nil || len(args) == 0 {
		return err
	}
	switch args[0] {
	case "deleteStream", "closeStream", "FCUnpublish":
		return ErrEnded
	case "onStatus":
		if code := statusCode(args); code == "NetStream.Play.UnpublishNotify" || code == "NetStream.Play.Stop" {
			return ErrEnded
		}
	}
	return nil
}

// withoutSetDataFrame takes off the word by which publishers mark metadata to be kept; files and players do not have it.
func withoutSetDataFrame(body []byte) []byte {
	prefix := appendAMF(nil, "@setDataFrame")
	if len(body) > len(prefix) && string(body[:len(prefix)]) == string(prefix) {
		return body[len(prefix):]
	}
	return body
}

// batches are buffers for WriteTags: of many connections only a few write at the same moment.
var batches = sync.Pool{New: func() any { return new([]byte) }}

// WriteTags sends media in one write.
func (c *Conn) WriteTags(tags []flv.Tag) error {
	buf := batches.Get().(*[]byte)
	defer batches.Put(buf)
	out := (*buf)[:0]
	for _, t := range tags {
		on := byte(onVideo)
		if t.Type == flv.Audio {
			on = onAudio
		}
		out = appendMessage(out, on, message{t.Type, t.Timestamp, c.stream, t.Data}, c.chunk)
	}
	*buf = out
	return c.write(out)
}

// read returns the next message that is not about the connection itself.
func (c *Conn) read() (message, error) {
	for {
		if err := c.net.SetReadDeadline(c.deadline()); err != nil {
			return message{}, err
		}
		m, err := c.chunks.next()
		if err != nil {
			return message{}, err
		}
		if own, err := c.heed(&m); own || err != nil {
			return m, err
		}
	}
}

// heed does what a message asks for that is about the connection itself. All others are the caller's own.
func (c *Conn) heed(m *message) (own bool, err error) {
	if err := c.acknowledge(); err != nil {
		return false, err
	}
	switch m.kind {
	case setChunkSize, windowSize:
		if len(m.body) < 4 {
			return false, fmt.Errorf("%w: control message of %d bytes", ErrMalformed, len(m.body))
		}
		v := binary.BigEndian.Uint32(m.body)
		if m.kind == windowSize {
			c.window = v
		} else if c.chunks.size = int(v); v < 1 || v > maxChunk {
			return false, fmt.Errorf("%w: chunks of %d bytes", ErrMalformed, v)
		}
		return false, nil
	case userControl:
		if len(m.body) >= 6 && binary.BigEndian.Uint16(m.body) == pingRequest {
			pong := append([]byte{0, pingResponse}, m.body[2:6]...)
			return false, c.answer(message{kind: userControl, body: pong})
		}
		return false, nil
	case acknowledge, peerBandwidth:
		return false, nil
	case commandAMF3: // the same as AMF0 behind one byte
		if len(m.body) > 0 {
			m.kind, m.body = commandAMF0, m.body[1:]
		}
	}
	return true, nil
}

// acknowledge tells the other side how much has arrived, as often as it asked for (5.4.3).
func (c *Conn) acknowledge() error {
	if c.window == 0 || c.chunks.read-c.acked < c.window {
		return nil
	}
	c.acked = c.chunks.read
	return c.answer(control(acknowledge, c.acked))
}

// answer sends a message from the side that reads.
func (c *Conn) answer(m message) error {
	return c.write(appendMessage(nil, onControl, m, c.chunk))
}

func (c *Conn) write(b []byte) error {
	if err := c.net.SetWriteDeadline(c.deadline()); err != nil {
		return err
	}
	_, err := c.net.Write(b)
	return err
}

// deadline is when a read or write that begins now must be over.
func (c *Conn) deadline() time.Time {
	at := time.Now().Add(c.timeout)
	if !c.until.IsZero() && c.until.Before(at) {
		return c.until
	}
	return at
}

func control(kind byte, v uint32) message {
	return message{kind: kind, body: binary.BigEndian.AppendUint32(nil, v)}
}

// put queues a message for flush.
func (c *Conn) put(on byte, m message) { c.out = appendMessage(c.out, on, m, c.chunk) }

func (c *Conn) command(stream uint32, values ...any) {
	c.put(onCommand, message{kind: commandAMF0, stream: stream, body: appendAMF(nil, values...)})
}

func (c *Conn) flush() error {
	err := c.write(c.out)
	c.out = c.out[:0]
	return err
}

// growChunks announces larger chunks; every message after it uses them.
func (c *Conn) growChunks() {
	c.put(onControl, control(setChunkSize, ourChunk))
	c.chunk = ourChunk
}

// readCommand returns the arguments of the next command.
func (c *Conn) readCommand() ([]any, uint32, error) {
	for {
		m, err := c.read()
		if err != nil {
			return nil, 0, err
		}
		if m.kind != commandAMF0 {
			continue
		}
		args, err := decodeAMF(m.body)
		if err != nil {
			return nil, 0, err
		}
		if len(args) < 2 {
			return nil, 0, fmt.Errorf("%w: command with %d values", ErrMalformed, len(args))
		}
		return args, m.stream, nil
	}
}

func statusCode(args []any) string {
	for _, a := range args {
		if o, ok := a.(Object); ok {
			if code, ok := o["code"].(string); ok {
				return code
			}
		}
	}
	return ""
}
