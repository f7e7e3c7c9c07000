package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/dns"
	"github.com/livedrill/livedrill/target/unit"
)

// DNS lets the platform's name server answer wrongly: that a name is not there, that it failed, late, or with an address that the name had
// once. Connections that stand are not hurt; who connects anew is.
type DNS struct {
	Answer string        `json:"answer" help:"nxdomain, servfail, slow or stale"`
	Name   string        `json:"name" help:"component whose name is hit; empty: all"`
	By     unit.Duration `json:"by" help:"of slow: how late an answer is"`

	right string // address of the name that is asked for, before
}

// nobodysAddress is an address of every range that no host has: a range has not that many.
const nobodysAddress = "10.77.0.254"

const (
	nxDomain = 3 // RFC 1035, 4.1.1
	servFail = 2
)

// Validate finds settings that cannot work.
func (f *DNS) Validate() error {
	var errs []error
	if !slices.Contains([]string{"nxdomain", "servfail", "slow", "stale"}, f.Answer) {
		errs = append(errs, fmt.Errorf("answer: %q is not nxdomain, servfail, slow or stale", f.Answer))
	}
	if d := time.Duration(f.By); d < 50*time.Millisecond || d > 6*time.Second {
		errs = append(errs, fmt.Errorf("by: %s is not between 50ms and 6s", f.By))
	}
	if len(f.Name) > 63 {
		errs = append(errs, fmt.Errorf("name: %q is longer than 63 letters (RFC 1035, 2.3.4)", f.Name))
	}
	return errors.Join(errs...)
}

// BackEnd is part of injectors.BackEnded.
func (*DNS) BackEnd() string { return "dns" }

func (f *DNS) order() target.Answers {
	out := target.Answers{Name: strings.ToLower(strings.TrimSuffix(f.Name, "."))} // as the server compares it (RFC 4343)
	switch f.Answer {
	case "nxdomain":
		out.Code = nxDomain
	case "servfail":
		out.Code = servFail
	case "slow":
		out.Slow = time.Duration(f.By)
	case "stale":
		out.Stale = nobodysAddress
	}
	return out
}

// asked is the name that the effect is measured on: the server's own if all are hit.
func (f *DNS) asked(on target.Component) string {
	if f.Name != "" {
		return f.Name
	}
	return on.Name
}

// Check is part of injectors.Fault.
func (f *DNS) Check(ctx context.Context, on target.Component) error {
	if err := injectors.Untold[target.Answers](ctx, on, "dns"); err != nil {
		return err
	}
	code, addr, _, err := f.ask(ctx, on)
	if err == nil && (code != 0 || addr == "") {
		err = fmt.Errorf("it does not know the name %s", f.asked(on))
	}
	f.right = addr
	return err
}

// ask asks as a component does.
func (f *DNS) ask(ctx context.Context, on target.Component) (code int, addr string, took time.Duration, err error) {
	to, err := clients.InRange(on, "dns")
	if err != nil {
		return 0, "", 0, err
	}
	conn, err := clients.DialFrom(on)(ctx, "udp4", to)
	if err != nil {
		return 0, "", 0, err
	}
	defer conn.Close()
	limit := 500 * time.Millisecond
	if f.Answer == "slow" {
		limit += time.Duration(f.By)
	}
	return dns.Ask(ctx, conn, f.asked(on), limit)
}

// Save is part of injectors.Fault.
func (*DNS) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Answers](ctx, on, "dns")
}

// Inject is part of injectors.Fault.
func (f *DNS) Inject(ctx context.Context, on target.Component) error {
	return injectors.Tell(ctx, on, "dns", f.order())
}

// Effect asks a few times, and counts the answers that are as wrong as was asked for.
func (f *DNS) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	asks := 10
	if f.Answer == "slow" {
		asks = int(min(10, max(1, 3*time.Second/time.Duration(f.By))))
	}
	wrong, right := 0, 0
	var longest time.Duration
	for range asks {
		code, addr, took, err := f.ask(ctx, on)
		var late net.Error
		if err != nil && !errors.As(err, &late) {
			return injectors.Measured{}, err
		}
		longest = max(longest, took)
		hit := map[string]bool{"nxdomain": code == nxDomain, "servfail": code == servFail, "slow": took >= time.Duration(f.By), "stale": addr == nobodysAddress}[f.Answer]
		switch {
		case hit:
			wrong++
		case err == nil && code == 0 && (addr == f.right || f.right == ""):
			right++
		}
	}
	name := f.Answer + "_ratio"
	m := injectors.Measured{N: uint64(asks), Asked: map[string]float64{name: 1}, Is: map[string]float64{name: float64(wrong) / float64(asks), "longest_seconds": longest.Seconds()},
		Bites: wrong == asks, Clean: right == asks && wrong == 0, Reason: fmt.Sprintf("%d of %d answers are wrong, %d are right", wrong, asks, right)}
	m.Bound(name, float64(asks))
	return m, nil
}

// Restore is part of injectors.Fault.
func (*DNS) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Answers](ctx, on, "dns", was)
}
