package target

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Clients are the secrets without what no client has.
func (s Secrets) Clients() Secrets {
	s.Authority = ""
	return s
}

// StreamKey is what a publisher of a channel sends: the channel's name, signed.
func (s Secrets) StreamKey(channel string) string {
	mac := hmac.New(sha256.New, []byte(s.Stream))
	mac.Write([]byte(channel))
	return channel + "_" + hex.EncodeToString(mac.Sum(nil)[:10])
}

// Channel gives the channel of a stream key, or false when the key is forged.
func (s Secrets) Channel(key string) (string, bool) {
	i := strings.LastIndexByte(key, '_')
	if i < 1 {
		return "", false
	}
	channel := key[:i]
	return channel, hmac.Equal([]byte(key), []byte(s.StreamKey(channel)))
}
