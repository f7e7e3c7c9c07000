// Package flv watches live streams over HTTP-FLV: one connection for each viewer, whose every frame is taken apart as it arrives.
package flv

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/livedrill/livedrill/loadgen"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
	"github.com/livedrill/livedrill/target/stamp"
)

// Tag is a unit of media.
type Tag = flv.Tag

// FirstPicture watches a channel at the viewer's edge until the whole of a key frame has come in that was sent after a time:
// what an edge still has of an earlier stream proves nothing.
func FirstPicture(ctx context.Context, client *http.Client, on target.Platform, region, channel string, after time.Time) error {
	assigned, err := loadgen.Dispatch(ctx, client, on, region)
	if err != nil {
		return err
	}
	url, err := loadgen.URL(on, assigned.Edge, "http", "/live/"+channel+".flv")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	in := flv.NewReader(bufio.NewReader(resp.Body))
	configured := false
	for {
		t, err := in.Next()
		if err != nil {
			return err
		}
		configured = configured || t.IsVideoHeader()
		if at, ok := stamp.Find(t.Data); ok && configured && t.IsKey() && at.After(after) {
			return nil
		}
	}
}
