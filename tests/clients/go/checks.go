package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// expect answers an error that names what was got and what was wanted.
func expect(what string, got, want any) error {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return nil
	}
	return fmt.Errorf("%s: got %v, want %v", what, got, want)
}

// words are the values with blanks between them.
func words(values ...any) string { return strings.TrimSpace(fmt.Sprintln(values...)) }

// all answers the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func expectError(what string, got, want error) error {
	if errors.Is(got, want) || got != nil && got.Error() == want.Error() {
		return nil
	}
	return fmt.Errorf("%s: got error %v, want %v", what, got, want)
}

// together runs `work` at once for 0..count-1 and answers the first error.
func together(count int, work func(number int) error) error {
	var group sync.WaitGroup
	errs := make([]error, count)
	for i := range errs {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			errs[number] = work(number)
		}(i)
	}
	group.Wait()
	return all(errs...)
}
