package flv

import (
	"net/http"
	"time"
)

// writeLimit is how long one write to a viewer may take before the viewer is given up.
const writeLimit = 10 * time.Second

// ServeHub answers a request with the live stream of a hub, as HTTP-FLV, until the stream or the viewer ends.
func ServeHub(w http.ResponseWriter, r *http.Request, hub *Hub) {
	w.Header().Set("Content-Type", "video/x-flv")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	sub := hub.Subscribe()
	defer sub.Close()
	control := http.NewResponseController(w)
	buf := append([]byte(nil), Header...)
	for {
		tags := sub.Next(r.Context())
		if tags == nil {
			return
		}
		for _, t := range tags {
			buf = t.Append(buf)
		}
		if err := control.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
			return
		}
		if _, err := w.Write(buf); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		buf = buf[:0]
	}
}
