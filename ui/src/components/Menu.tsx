import { Check } from "lucide-react";
import { DropdownMenu, Popover as RadixPopover } from "radix-ui";
import type { ReactNode } from "react";

const floating = "z-40 rounded border border-line bg-s1 text-data shadow-float max-h-[var(--radix-popper-available-height)] overflow-auto";
const item = "flex min-h-7 cursor-default items-center gap-2 rounded-sm px-2 outline-none data-[highlighted]:bg-s3 data-[disabled]:opacity-50 select-none";

// Menus do not block the page behind them: the policy of the server allows no style that is set by a script tag,
// and nothing here needs it.
export function Menu({ trigger, children, align = "start", label }: { trigger: ReactNode; children: ReactNode; align?: "start" | "end"; label?: string }) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content align={align} sideOffset={4} collisionPadding={8} aria-label={label} className={`${floating} min-w-44 p-1`}>
          {children}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}

export function MenuItem({ onSelect, children, asChild = false }: { onSelect?: () => void; children: ReactNode; asChild?: boolean }) {
  return (
    <DropdownMenu.Item className={item} onSelect={onSelect} asChild={asChild}>
      {children}
    </DropdownMenu.Item>
  );
}

export function MenuChoice<T extends string>({ value, choices, onChange }: { value: T; choices: { value: T; name: ReactNode }[]; onChange: (value: T) => void }) {
  return (
    <DropdownMenu.RadioGroup value={value} onValueChange={(next) => onChange(next as T)}>
      {choices.map((choice) => (
        <DropdownMenu.RadioItem key={choice.value} value={choice.value} className={`${item} pl-7 relative`}>
          <DropdownMenu.ItemIndicator className="absolute left-2">
            <Check size={14} className="text-accent" aria-hidden />
          </DropdownMenu.ItemIndicator>
          {choice.name}
        </DropdownMenu.RadioItem>
      ))}
    </DropdownMenu.RadioGroup>
  );
}

export function MenuLabel({ children }: { children: ReactNode }) {
  return <DropdownMenu.Label className="px-2 pt-1.5 pb-1 text-tiny text-muted">{children}</DropdownMenu.Label>;
}

export function MenuSeparator() {
  return <DropdownMenu.Separator className="my-1 h-px bg-line" />;
}

export function Popover({ trigger, children, label, open, onOpenChange, align = "end" }: { trigger: ReactNode; children: ReactNode; label: string; open?: boolean; onOpenChange?: (open: boolean) => void; align?: "start" | "end" }) {
  return (
    <RadixPopover.Root {...(open === undefined ? {} : { open })} {...(onOpenChange ? { onOpenChange } : {})}>
      <RadixPopover.Trigger asChild>{trigger}</RadixPopover.Trigger>
      <RadixPopover.Portal>
        <RadixPopover.Content align={align} sideOffset={4} collisionPadding={8} aria-label={label} className={`${floating} w-[min(30rem,calc(100vw-16px))]`}>
          {children}
        </RadixPopover.Content>
      </RadixPopover.Portal>
    </RadixPopover.Root>
  );
}
