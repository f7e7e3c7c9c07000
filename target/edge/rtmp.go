package edge

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/rtmp"
)

// rtmpLimit bounds every read and write of an RTMP player's connection.
const rtmpLimit = 10 * time.Second

// rtmp lets RTMP players watch rtmp://EDGE/live/CHANNEL, or CHANNEL/low. Nobody publishes at an edge.
func (r *relay) rtmp(ctx context.Context, conn *rtmp.Conn, req rtmp.Request) error {
	stream, _, _ := strings.Cut(req.Stream, "?")
	match := flvPath.FindStringSubmatch("/live/" + stream + ".flv")
	if req.Publish || match == nil {
		return conn.Refuse(req, "an edge has streams to play: /live/CHANNEL")
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close()
	reading.Go(func() { defer cancel(); _ = conn.Gone() }) // why is nothing to an edge
	key := streamKey(match)
	p := r.join(ctx, key, flv.NewHub)
	defer r.leave(key, p)
	select {
	case <-p.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.status != http.StatusOK {
		return conn.Refuse(req, "nobody publishes this channel")
	}
	if err := conn.Approve(req); err != nil {
		return err
	}
	r.players.Inc()
	defer r.players.Dec()
	return conn.PlayHub(ctx, p.hub)
}
