package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/livedrill/livedrill/reports/record"
)

// Told is what a component of the bundled platform has been told to do wrong. Faults read and write it (GET and PUT /told/TYPE) on the
// component's own socket: nobody on a network reaches that. It lies in a file beside the socket, as a wrong clock or an old certificate
// would on a real machine: who starts the component anew does not mend it.
type Told[T comparable] struct {
	Changed func(T) // is told of each order, if there is somebody to tell

	mu   sync.Mutex
	last given[T]
	file string
}

// given is an order, and when it was given, in nanoseconds of the Unix epoch.
type given[T any] struct {
	Order T     `json:"order"`
	At    int64 `json:"at"`
}

// Now reads what is to be done now.
func (o *Told[T]) Now() T {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last.Order
}

// Handle answers to orders, and carries out that which a component with this socket had before.
func (o *Told[T]) Handle(mux *http.ServeMux, socket string) error {
	o.file = fileOf[T](socket)
	text, err := os.ReadFile(o.file)
	if err == nil {
		err = json.Unmarshal(text, &o.last)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("what it was told before: %w", err)
	}
	if err == nil && o.Changed != nil {
		o.Changed(o.last.Order)
	}
	mux.HandleFunc("GET "+pathOf[T](), func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(o.Now()) // the client has gone: nothing to do
	})
	mux.HandleFunc("PUT "+pathOf[T](), o.take)
	return nil
}

// take takes an order, which says when it was given (?at=, nanoseconds of the Unix epoch). One that was overtaken by a later one is
// refused: it may be the last word of a process that was killed, and whose fault was restored meanwhile.
func (o *Told[T]) take(w http.ResponseWriter, r *http.Request) {
	var next given[T]
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&next.Order)
	var atErr error
	next.At, atErr = strconv.ParseInt(r.URL.Query().Get("at"), 10, 64)
	if next.At > time.Now().Add(time.Minute).UnixNano() {
		atErr = errors.New("an order from the future")
	}
	if err = errors.Join(err, atErr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if next.At < o.last.At {
		http.Error(w, "a later order was here before", http.StatusConflict)
		return
	}
	if err := o.keep(next); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if o.last = next; o.Changed != nil {
		o.Changed(next.Order)
	}
}

// keep writes an order down, whole or not at all.
func (o *Told[T]) keep(order given[T]) error {
	text, err := json.Marshal(order)
	if err == nil {
		err = os.WriteFile(o.file+".new", text, 0o600)
	}
	if err != nil {
		return err
	}
	return os.Rename(o.file+".new", o.file)
}

// fileOf is where an order of a type lies.
func fileOf[T any](socket string) string { return socket + "." + reflect.TypeFor[T]().Name() }

// pathOf is where orders of a type go: a component can take several.
func pathOf[T any]() string { return "/told/" + reflect.TypeFor[T]().Name() }

// Tell gives a component of a kind an order. One that failed may have arrived all the same.
func Tell[T comparable](ctx context.Context, on Component, kind string, order T) error {
	return on.order(ctx, kind, http.MethodPut, pathOf[T](), order, nil)
}

// TellLater does the same with a component that may be dead: then it finds the order when it is started anew.
func TellLater[T comparable](ctx context.Context, on Component, kind string, order T) error {
	err := Tell(ctx, on, kind, order)
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	left := Told[T]{file: fileOf[T](on.Socket)}
	if err := left.keep(given[T]{order, time.Now().UnixNano()}); err != nil {
		return err
	}
	// It may have been started meanwhile, with the order before.
	if err = Tell(ctx, on, kind, order); errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// HasBeenTold asks a component of a kind for its orders.
func HasBeenTold[T comparable](ctx context.Context, on Component, kind string) (order T, err error) {
	err = on.order(ctx, kind, http.MethodGet, pathOf[T](), nil, &order)
	return order, err
}

func (c Component) order(ctx context.Context, kind, method, path string, in, out any) error {
	if c.Socket == "" || c.Kind != kind {
		return fmt.Errorf("it is no %s of the bundled platform", kind)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://unix%s?at=%d", path, time.Now().UnixNano()), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := record.Client(c.Socket).Do(req)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", c.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", c.Name, resp.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
