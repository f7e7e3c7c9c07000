// Package clock sets the clock of a component of the bundled platform wrong. The machine's own clock is never touched: our components ask
// a clock that can be told to be ahead.
package clock

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/clients"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/unit"
)

// Skew lets a gateway's clock be wrong, as after a time server that lied: what it signs is from the future or the past, and when it is
// ahead, log-ins from before are over.
type Skew struct {
	By       unit.Duration `json:"by" help:"how far the clock is from the right time"`
	Behind   bool          `json:"behind" help:"it is late; else it is ahead"`
	User     string        `json:"user" help:"that logs in, so that the effect can be measured"`
	Password string        `json:"password" help:"of that user"`

	old string // a log-in from before
}

// near is how close to what was asked for the clock must be: tokens have whole seconds (RFC 7519, 4.1.6, as most libraries write it).
const near = 2 * time.Second

// Validate finds settings that cannot work.
func (f *Skew) Validate() error {
	if d := time.Duration(f.By); d < 3*near || d > 10*365*24*time.Hour {
		return fmt.Errorf("by: %s is not between %s and ten years", f.By, 3*near)
	}
	return nil
}

// BackEnd is part of injectors.BackEnded.
func (*Skew) BackEnd() string { return "gateway" }

func (f *Skew) asked() time.Duration {
	if f.Behind {
		return -time.Duration(f.By)
	}
	return time.Duration(f.By)
}

// Check is part of injectors.Fault.
func (f *Skew) Check(ctx context.Context, on target.Component) error {
	err := injectors.Untold[target.Clock](ctx, on, "gateway")
	if err == nil {
		f.old, err = f.login(ctx, on)
	}
	return err
}

// Save is part of injectors.Fault.
func (*Skew) Save(ctx context.Context, on target.Component) (injectors.Original, error) {
	return injectors.SaveTold[target.Clock](ctx, on, "gateway")
}

// Inject is part of injectors.Fault.
func (f *Skew) Inject(ctx context.Context, on target.Component) error {
	return injectors.Tell(ctx, on, "gateway", target.Clock{Ahead: f.asked()})
}

// post asks the gateway as a client does, and gives the status and the answer.
func post(ctx context.Context, on target.Component, path, token string, body any) (int, map[string]string, error) {
	addr, err := clients.InRange(on, "http")
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: clients.DialFrom(on)}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var answer map[string]string
	if resp.StatusCode == http.StatusOK {
		err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<16)).Decode(&answer)
	}
	return resp.StatusCode, answer, err
}

func (f *Skew) login(ctx context.Context, on target.Component) (string, error) {
	status, answer, err := post(ctx, on, "/v1/login", "", map[string]string{"name": f.User, "password": f.Password})
	if err == nil && answer["token"] == "" {
		err = fmt.Errorf("%s cannot log in: status %d", f.User, status)
	}
	return answer["token"], err
}

// issued reads when a token says that it was issued (RFC 7519, 4.1.6).
func issued(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("what a log-in gives is no JWT")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, err
	}
	var claims struct{ Iat float64 }
	err = json.Unmarshal(text, &claims)
	return time.UnixMilli(int64(claims.Iat * 1000)), err
}

// Effect logs in and reads from the token what the gateway takes for the time. Beside it stands whether a log-in from before still holds.
func (f *Skew) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	token, err := f.login(ctx, on)
	if err != nil {
		return injectors.Measured{}, err
	}
	at, err := issued(token)
	if err != nil {
		return injectors.Measured{}, err
	}
	ahead := time.Until(at)
	m := injectors.Measured{N: 1, Asked: map[string]float64{"seconds_ahead": f.asked().Seconds()}, Is: map[string]float64{"seconds_ahead": ahead.Seconds()},
		Bites: (ahead - f.asked()).Abs() < near, Clean: ahead.Abs() < near, Reason: fmt.Sprintf("its clock is %s ahead", ahead.Round(time.Second))}
	if f.old == "" {
		return m, nil
	}
	status, _, err := post(ctx, on, "/v1/gifts", f.old, map[string]string{}) // no gift: a valid log-in is told that it is malformed
	m.Is["old_log_in_refused"] = 0
	if status == http.StatusUnauthorized {
		m.Is["old_log_in_refused"] = 1
		m.Reason += ", and a log-in from before is refused"
	}
	return m, err
}

// Restore is part of injectors.Fault.
func (*Skew) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	return injectors.RestoreTold[target.Clock](ctx, on, "gateway", was)
}

// Kinds lists the faults of clocks.
var Kinds = []injectors.Kind{
	{Name: "clock.skew", Summary: "a gateway's clock is wrong", BackEnds: []string{"gateway"}, On: "gateway", Takes: "clock, processes",
		Default: func() injectors.Fault {
			return &Skew{By: unit.Duration(2 * time.Hour), User: "user0", Password: "pw-user0"}
		}},
}
