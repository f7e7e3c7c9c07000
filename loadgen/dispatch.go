package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livedrill/livedrill/target"
)

// Assignment is the servers that the platform gives a viewer.
type Assignment struct {
	Edge    string `json:"edge"`
	Danmaku string `json:"danmaku"`
	Ingest  string `json:"ingest"`
}

// Dispatch asks the gateway, as every client of the platform does before it connects anywhere.
func Dispatch(ctx context.Context, client *http.Client, on target.Platform, region string) (Assignment, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var a Assignment
	address, err := URL(on, "gateway", "http", "/v1/dispatch?region="+url.QueryEscape(region))
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return a, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("dispatch: %w: %s", target.ErrRefused, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&a); err != nil {
		return a, fmt.Errorf("dispatch: %w", err)
	}
	if a.Edge == "" || a.Danmaku == "" || a.Ingest == "" {
		return a, errors.New("dispatch: an answer without servers")
	}
	return a, nil
}

// URL gives the address of something on a component.
func URL(on target.Platform, component, protocol, path string) (string, error) {
	c, err := on.Find(component)
	if err != nil {
		return "", err
	}
	addr, err := c.HostPort(protocol)
	if err != nil {
		return "", err
	}
	return protocol + "://" + addr + path, nil
}

// CheckURL refuses the address of a server that is not the user's own: it must be on loopback, and speak one of the schemes.
func CheckURL(address string, schemes ...string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("url: %q does not begin with %s://", address, strings.Join(schemes, ":// or "))
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("url: %q has no port between 1 and 65535", address)
		}
	}
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() == "localhost" {
		ip = net.IPv4(127, 0, 0, 1)
	}
	if ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("url: %q is not on loopback: load goes nowhere else", address)
	}
	return nil
}

// Stay keeps a client from following a redirect: load goes nowhere but where it was sent.
func Stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
